//! Pure: when a schedule is due, in its time zone.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::time::Duration;

/// A schedule that can be asked.
pub(super) struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Why a schedule can't be asked: the Event's reason and message.
pub(super) type Refusal = (&'static str, String);

impl Schedule {
    /// Reads a schedule of five fields, or a descriptor like `@hourly`; without a time zone it is meant in UTC.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, Refusal> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| ("UnparseableSchedule", format!("unparseable schedule: {text:?} : {error}")))?;
        let unknown = |error| ("UnknownTimeZone", format!("invalid timeZone: {zone:?}: {error}"));
        let zone = zone.filter(|name| !name.is_empty()).map_or(Ok(TimeZone::UTC), TimeZone::get).map_err(unknown)?;
        Ok(Self { cron, zone })
    }

    /// The last time at or before `now`; `None` when there never was one.
    pub fn last_due(&self, now: Timestamp) -> Option<Zoned> {
        self.cron.find_previous_occurrence(&now.to_zoned(self.zone.clone()), true).ok()
    }

    /// Time until it is due again; `None` when it never is.
    pub fn next_in(&self, now: Timestamp) -> Option<Duration> {
        let next = self.cron.find_next_occurrence(&now.to_zoned(self.zone.clone()), false).ok()?;
        Duration::try_from(next.timestamp().duration_since(now)).ok()
    }
}
