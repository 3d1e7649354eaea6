#!/usr/bin/env python3
"""Reads attributions and touches by Arrow Flight and compares each row with what gRPC sends.

    grpcurl -plaintext -H "authorization: Bearer $MUNADI_KEY" 127.0.0.1:7700 \
        munadi.v1.AttributionService/PullAttributions > pulled.json
    MUNADI_KEY=mk_... python3 tests/python/flight.py grpc://127.0.0.1:7700 pulled.json

Needs pyarrow. Ends with 1 where a row differs. Without pyarrow it says so and ends with 0.
"""

import datetime
import json
import os
import sys

try:
    import pyarrow.flight as flight
except ImportError:
    print("NOTICE: pyarrow is not installed, so Flight was not read from Python")
    sys.exit(0)

MODELS = ["last_touch", "first_touch", "last_click", "linear", "time_decay", "position_based"]
ENUMS = {
    "outcome": "OUTCOME_",
    "match_kind": "MATCH_KIND_",
    "decline_reason": "DECLINE_REASON_",
    "invalid": "INVALID_REASON_",
    "match_confidence": "MATCH_CONFIDENCE_",
    "touch_kind": "TOUCH_KIND_",
    "revision_cause": "REVISION_CAUSE_",
}
IDS = ["outcome_id", "revision", "account_id", "campaign_id", "ad_set_id", "ad_id", "conversation_id"]
TEXTS = ["event_id", "name"]
FLAGS = ["withdrawn", "imported"]
TIMES = ["event_time", "touch_time", "journal_minute"]


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def time(text):
    return text and datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def enum(text, prefix):
    return None if text is None or text == prefix + "UNSPECIFIED" else text.removeprefix(prefix)


def messages(text):
    """Yields the JSON objects that stand one after the other in a text."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        message, at = decoder.raw_decode(text, at)
        yield message


def attribution(row):
    value = row.get("value")
    told = {name: int(row.get(camel(name), 0)) for name in IDS}
    told |= {name: row.get(camel(name), "") for name in TEXTS}
    told |= {name: row.get(name, False) for name in FLAGS}
    told |= {name: time(row.get(camel(name))) for name in TIMES}
    told |= {name: enum(row.get(camel(name)), prefix) for name, prefix in ENUMS.items()}
    told["value_micros"] = int(value.get("micros", 0)) if value else None
    told["currency"] = value.get("currency") if value else None
    told["charged_micros"] = int(row.get("chargedMicros", 0))
    return told


def touches(row):
    for position, touch in enumerate(row.get("path", []), 1):
        credits = touch.get("creditMicros", [])
        yield {
            "outcome_id": int(row.get("outcomeId", 0)),
            "revision": int(row.get("revision", 0)),
            "outcome": enum(row.get("outcome"), "OUTCOME_"),
            "account_id": int(row.get("accountId", 0)),
            "position": position,
            "campaign_id": int(touch.get("campaignId", 0)),
            "ad_set_id": int(touch.get("adSetId", 0)),
            "ad_id": int(touch.get("adId", 0)),
            "kind": enum(touch.get("kind"), "TOUCH_KIND_"),
            "time": time(touch.get("time")),
            "journal_minute": time(row.get("journalMinute")),
        } | {f"{model}_credit_micros": credit for model, credit in zip(MODELS, credits)}


def read(client, options, table):
    info = client.get_flight_info(flight.FlightDescriptor.for_path(table), options)
    rows = client.do_get(info.endpoints[0].ticket, options).read_all()
    version = rows.schema.metadata[b"munadi.schema_version"].decode()
    print(f"{table}: {rows.num_rows} rows, {rows.num_columns} columns, schema version {version}")
    return rows.to_pylist()


def main():
    if len(sys.argv) != 3 or "MUNADI_KEY" not in os.environ:
        sys.exit(__doc__)
    bearer = "Bearer " + os.environ["MUNADI_KEY"]
    options = flight.FlightCallOptions(headers=[(b"authorization", bearer.encode())])
    with open(sys.argv[2], encoding="utf-8") as file:
        pulled = [row for page in messages(file.read()) for row in page.get("rows", [])]
    client = flight.connect(sys.argv[1])
    wanted = {
        "attributions": [attribution(row) for row in pulled],
        "touches": [touch for row in pulled for touch in touches(row)],
    }
    differ = 0
    for table, told in wanted.items():
        got = read(client, options, table)
        if len(got) != len(told):
            differ += 1
            print(f"{table}: {len(got)} rows by Flight, {len(told)} by gRPC")
        for number, (one, other) in enumerate(zip(got, told)):
            for name, value in other.items():
                if one[name] != value:
                    differ += 1
                    print(f"{table}[{number}].{name}: {one[name]!r} by Flight, {value!r} by gRPC")
    print("alike" if differ == 0 else f"{differ} differences")
    sys.exit(differ != 0)


main()
