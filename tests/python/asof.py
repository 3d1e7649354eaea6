#!/usr/bin/env python3
"""Attributes a history by DuckDB, by plain SQL and by ASOF JOIN, and compares each row with munadi's.

    cargo bench --features columns --bench attribute -- --history history
    munadi attribute --from history --to credited.parquet
    python3 tests/python/asof.py history credited.parquet

The last tap within 7 days, else the last impression within one day, of the same viewer on an ad of the same
account; of two at one moment the one with the higher ad id. Needs duckdb. Ends with 1 where a row differs.
Without duckdb it says so and ends with 0.
"""

import statistics
import sys
import time

try:
    import duckdb
except ImportError:
    print("NOTICE: duckdb is not installed, so the history was not attributed by SQL")
    sys.exit(0)

ROUNDS = 3
THREADS = 2
DAY_US = 86_400_000_000

VIEWS = """
create or replace view impressions as
    select viewer, account_id, epoch_us(event_time) as moment, ad_id from '{0}/impressions.parquet';
create or replace view taps as
    select viewer, account_id, epoch_us(event_time) as moment, ad_id from '{0}/taps.parquet';
create or replace view outcomes as
    select type, event_id, viewer, account_id, epoch_us(event_time) as moment
    from read_parquet(['{0}/conversations.parquet', '{0}/conversions.parquet']);
create or replace view munadi as
    select type, account_id, event_id, touch, epoch_us(touch_time) as touch_moment, ad_id from '{1}';
"""

# Touches of each outcome, ranked; taps rank above views.
PLAIN = f"""
create or replace table plain as
with met as (
    select o.type, o.account_id, o.event_id, 'TAP' as touch, t.moment as touch_moment, t.ad_id, 1 as kind
    from outcomes o join taps t using (viewer, account_id)
    where t.moment <= o.moment and t.moment >= o.moment - {7 * DAY_US}
    union all
    select o.type, o.account_id, o.event_id, 'VIEW', i.moment, i.ad_id, 2
    from outcomes o join impressions i using (viewer, account_id)
    where i.moment <= o.moment and i.moment >= o.moment - {DAY_US}
), ranked as (
    select *, row_number() over (
        partition by type, account_id, event_id order by kind, touch_moment desc, ad_id desc
    ) as place from met
)
select o.type, o.account_id, o.event_id, r.touch, r.touch_moment, r.ad_id
from outcomes o left join ranked r
    on r.type = o.type and r.account_id = o.account_id and r.event_id = o.event_id and r.place = 1
"""

ASOF = f"""
create or replace table asof_join as
with tapped as (
    select o.*, t.moment as tap_at, t.ad_id as tap_ad
    from outcomes o asof left join taps t
        on o.viewer = t.viewer and o.account_id = t.account_id and o.moment >= t.moment
), viewed as (
    select o.*, i.moment as view_at, i.ad_id as view_ad
    from tapped o asof left join impressions i
        on o.viewer = i.viewer and o.account_id = i.account_id and o.moment >= i.moment
), judged as (
    select *, coalesce(moment - tap_at <= {7 * DAY_US}, false) as by_tap,
        coalesce(moment - view_at <= {DAY_US}, false) as by_view
    from viewed
)
select type, account_id, event_id,
    case when by_tap then 'TAP' when by_view then 'VIEW' end as touch,
    case when by_tap then tap_at when by_view then view_at end as touch_moment,
    case when by_tap then tap_ad when by_view then view_ad end as ad_id
from judged
"""

# An ASOF JOIN takes either of two touches at one moment.
TIES = """
select count(*) from (
    select viewer, account_id, moment from {0} group by all having count(distinct ad_id) > 1
)
"""

DIFFERENT = """
select count(*) from munadi m full join {0} d
    on m.type = d.type and m.account_id = d.account_id and m.event_id = d.event_id
where m.event_id is null or d.event_id is null or m.touch is distinct from d.touch
    or m.touch_moment is distinct from d.touch_moment or m.ad_id is distinct from d.ad_id
"""


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    database = duckdb.connect()
    database.execute(f"set threads = {THREADS}")
    database.execute(VIEWS.format(*(argument.replace("'", "''") for argument in sys.argv[1:])))
    outcomes = database.execute("select count(*) from outcomes").fetchone()[0]
    print(f"duckdb {duckdb.__version__}, {THREADS} threads, {outcomes} outcomes")
    ties = sum(database.execute(TIES.format(kind)).fetchone()[0] for kind in ("taps", "impressions"))
    differ = 0
    for name, statement in (("plain", PLAIN), ("asof_join", ASOF)):
        took = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            database.execute(statement)
            took.append(time.perf_counter() - began)
        different = database.execute(DIFFERENT.format(name)).fetchone()[0]
        seconds = ", ".join(f"{second:.3f}" for second in took)
        print(f"{name}: {statistics.median(took):.3f} s ({seconds}); {different} rows differ")
        # Moments at which an ASOF JOIN may choose otherwise are no differences of ours.
        differ += different if name == "plain" or ties == 0 else 0
    if ties:
        print(f"{ties} moments with touches of several ads: differences of the ASOF JOIN may be of these")
    query = "select touch, count(*) from munadi group by all order by all"
    print(", ".join(f"{touch or 'none'} {count}" for touch, count in database.execute(query).fetchall()))
    sys.exit(differ != 0)


main()
