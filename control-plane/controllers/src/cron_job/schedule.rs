//! Pure: when a schedule is due, in its time zone. What is a schedule is decided where CronJobs are accepted (`orknet_resources::cron`).

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use orknet_resources::cron::{self, Timing};

/// A schedule that can be asked.
pub(super) struct Schedule {
    form: Form,
    zone: TimeZone,
}

enum Form {
    Calendar(Box<Cron>),
    /// Counted in seconds from the last time.
    Every(i64),
}

/// Why a schedule can't be asked: the Event's reason and message.
pub(super) type Refusal = (&'static str, String);

/// The time zone of that name; UTC without one.
pub(super) fn zone(name: Option<&str>) -> Result<TimeZone, Refusal> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(TimeZone::UTC) };
    TimeZone::get(name).map_err(|_| ("UnknownTimeZone", format!("invalid timeZone: {name:?}: unknown time zone {name}")))
}

impl Schedule {
    /// Reads a schedule of five fields, or a descriptor like `@hourly` or `@every 5m`.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, Refusal> {
        let refusal = |error: String| ("UnparseableSchedule", format!("unparseable schedule: {text:?} : {error}"));
        let form = match cron::parse(text).map_err(refusal)? {
            Timing::Every(time) => Form::Every(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)),
            Timing::Calendar(fields) => {
                let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
                Form::Calendar(Box::new(parser.parse(&fields).map_err(|error| refusal(error.to_string()))?))
            }
        };
        Ok(Self { form, zone })
    }

    /// The last time after `since` and not after `now`.
    pub fn last_due(&self, since: Timestamp, now: Timestamp) -> Option<Zoned> {
        let due = match &self.form {
            Form::Calendar(cron) => cron.find_previous_occurrence(&now.to_zoned(self.zone.clone()), true).ok()?,
            Form::Every(seconds) => {
                let passed = now.as_second().checked_sub(since.as_second())?;
                Timestamp::from_second(now.as_second() - passed.rem_euclid(*seconds)).ok()?.to_zoned(self.zone.clone())
            }
        };
        Some(due).filter(|due| due.timestamp() > since)
    }

    /// Time until it is due again; `None` when it never is.
    pub fn next_in(&self, since: Timestamp, now: Timestamp) -> Option<Duration> {
        let next = match &self.form {
            Form::Calendar(cron) => cron.find_next_occurrence(&now.to_zoned(self.zone.clone()), false).ok()?.timestamp(),
            Form::Every(seconds) => {
                let passed = now.as_second().checked_sub(since.as_second())?;
                Timestamp::from_second(now.as_second().checked_add(seconds - passed.rem_euclid(*seconds))?).ok()?
            }
        };
        Duration::try_from(next.duration_since(now)).ok()
    }
}
