//! The demo's town as a market that is the same every day.

use crate::town::lines::Line;
use crate::types::proto::v1::{Account, AdSet, Budget, Campaign};
use crate::types::request::Resource;

/// Returns a line of a market that lasts: budgets are daily and their days are the town's, nothing begins or ends, and
/// no account has a limit. In the demo many budgets end within its one day, so that on the next one rivals have half
/// the money, and pay half.
pub(crate) fn lasting(line: Line) -> Line {
    let resource = match line.resource {
        Resource::Account(row) => {
            Resource::Account(Account { time_zone: "UTC".into(), spend_limit: None, ..row })
        }
        Resource::Campaign(row) => {
            Resource::Campaign(Campaign { budget: row.budget.map(daily), ..row })
        }
        Resource::AdSet(row) => {
            let (start_time, end_time) = (None, None);
            Resource::AdSet(AdSet { budget: row.budget.map(daily), start_time, end_time, ..row })
        }
        other => other,
    };
    Line { resource, ..line }
}

fn daily(budget: Budget) -> Budget {
    Budget { daily: budget.daily.or(budget.lifetime), lifetime: None }
}
