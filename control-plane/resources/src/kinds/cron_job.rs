//! CronJob: jobs on a schedule. When they are due is the controller's.

use super::{job, workload};
use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::table::{self, number, text, wide};
use crate::typed::{Kind, namespaced, or_empty};
use crate::{cron, selector};
use k8s_openapi::api::batch::v1;
use serde_json::Value;

pub struct CronJob;

/// Jobs are named after the CronJob with eleven more characters.
const MAX_NAME: usize = 52;
/// Longest part of a time zone's name (IANA, "Theory and pragmatics of the tz code and data").
const MAX_ZONE_PART: usize = 14;

impl Kind for CronJob {
    type Object = v1::CronJob;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["cj"],
        categories: &["all"],
        subresources: &["status"],
        has_generation: true,
        ..namespaced::<v1::CronJob>("cronjobs", "cronjob")
    };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Schedule", "The schedule in Cron format"),
        text("Timezone", "Time zone of the schedule"),
        text("Suspend", "Whether no further jobs are started"),
        number("Active", "Jobs that run now"),
        text("Last Schedule", "Time since a job was last started"),
        table::AGE,
        wide("Containers", "Names of each container in the template."),
        wide("Images", "Images referenced by each container in the template."),
        wide("Selector", "Labels that select the pods"),
    ];

    fn default(object: &mut v1::CronJob) {
        let Some(spec) = &mut object.spec else { return };
        spec.concurrency_policy.get_or_insert_with(|| "Allow".to_owned());
        spec.suspend.get_or_insert(false);
        spec.successful_jobs_history_limit.get_or_insert(3);
        spec.failed_jobs_history_limit.get_or_insert(1);
        if let Some(job) = &mut spec.job_template.spec {
            workload::default_template(&mut job.template);
        }
    }

    fn validate(object: &v1::CronJob, errors: &mut Errors) {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        if name.len() > MAX_NAME {
            errors.invalid(&Path::Root.field("metadata").field("name"), name, format!("must be no more than {MAX_NAME} characters"));
        }
        validate_spec(&or_empty(&object.spec), None, errors);
    }

    fn validate_update(new: &v1::CronJob, old: &v1::CronJob, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource != Some("status") {
            validate_spec(&or_empty(&new.spec), Some(&or_empty(&old.spec)), errors);
        }
    }

    fn cells(object: &v1::CronJob, now: i64) -> Vec<Value> {
        let spec = or_empty(&object.spec);
        let status = or_empty(&object.status);
        let job = or_empty(&spec.job_template.spec);
        let [containers, images] = workload::containers_and_images(job.template.spec.as_ref());
        let last = status.last_schedule_time.as_ref().map(|t| table::since(Some(t), now));
        let suspended = if spec.suspend.unwrap_or_default() { "True" } else { "False" };
        vec![
            table::name(&object.metadata),
            spec.schedule.as_str().into(),
            table::or_none(spec.time_zone.as_deref()),
            suspended.into(),
            status.active.as_ref().map_or(0, Vec::len).into(),
            table::or_none(last.as_deref()),
            table::age(&object.metadata, now),
            containers,
            images,
            selector::shown(job.selector.as_ref()).into(),
        ]
    }
}

fn validate_spec(spec: &v1::CronJobSpec, old: Option<&v1::CronJobSpec>, errors: &mut Errors) {
    let at = Path::Root.field("spec");
    if spec.schedule.is_empty() {
        errors.required(&at.field("schedule"), "");
    } else {
        let zoned_before = old.is_some_and(|old| old.schedule.contains("TZ"));
        schedule(&spec.schedule, zoned_before, spec.time_zone.is_some(), &at.field("schedule"), errors);
    }
    errors.non_negative(&at.field("startingDeadlineSeconds"), spec.starting_deadline_seconds.unwrap_or_default());
    if let Some(zone) = &spec.time_zone
        && old.is_none_or(|old| old.time_zone != spec.time_zone)
    {
        time_zone(zone, &at.field("timeZone"), errors);
    }
    errors.one_of(&at.field("concurrencyPolicy"), spec.concurrency_policy.as_deref(), &["Allow", "Forbid", "Replace"]);
    let template = at.field("jobTemplate");
    match &spec.job_template.spec {
        None => errors.required(&template.field("spec"), ""),
        Some(spec) => job::validate_spec(spec, &template.field("spec"), errors),
    }
    errors.non_negative(&at.field("successfulJobsHistoryLimit"), spec.successful_jobs_history_limit.unwrap_or_default());
    errors.non_negative(&at.field("failedJobsHistoryLimit"), spec.failed_jobs_history_limit.unwrap_or_default());
}

/// A time zone inside of the schedule may stay where it was before, and is no new one's.
fn schedule(text: &str, zoned_before: bool, has_zone: bool, at: &Path<'_>, errors: &mut Errors) {
    if let Err(detail) = cron::parse(text) {
        errors.invalid(at, text, detail);
    }
    if text.contains("TZ") && !zoned_before {
        errors.invalid(at, text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    } else if text.contains("TZ") && has_zone {
        errors.invalid(at, text, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    }
}

/// The form of a time zone's name. Whether there is such a zone is known where schedules are kept, by the controller.
fn time_zone(zone: &str, at: &Path<'_>, errors: &mut Errors) {
    let usual = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '.' | '-' | '_' | '+');
    let is_part =
        |part: &str| !matches!(part, "" | "." | "..") && !part.starts_with('-') && part.len() <= MAX_ZONE_PART && part.chars().all(usual);
    if zone.is_empty() {
        errors.invalid(at, zone, "timeZone must be nil or non-empty string");
    } else if !zone.split('/').all(is_part) {
        errors.invalid(at, zone, format!("unknown time zone {zone}"));
    } else if zone.eq_ignore_ascii_case("local") {
        errors.invalid(at, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<CronJob> = Typed::NEW;

    fn cron(schedule: &str) -> Value {
        let body = json!({"metadata": {"name": "c", "namespace": "d"}, "spec": {"schedule": schedule, "jobTemplate": {"spec": {
            "template": {"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "a", "image": "x"}]}}}}}});
        KIND.decode(body).unwrap().object
    }

    fn told(found: &[crate::contract::FieldError]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn schedules_are_refused_in_the_words_of_kubernetes() {
        for schedule in ["*/5 * * * *", "0 0 1 JAN MON-FRI", "@hourly", "@every 5m"] {
            assert_eq!(told(&KIND.validate_create(&cron(schedule))), [""; 0], "{schedule}");
        }
        assert_eq!(told(&KIND.validate_create(&cron(""))), ["spec.schedule: Required value"]);
        assert_eq!(
            told(&KIND.validate_create(&cron("* * * *"))),
            [r#"spec.schedule: Invalid value: "* * * *": expected exactly 5 fields, found 4: [* * * *]"#]
        );
        let zoned = "TZ=UTC 0 * * * *";
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        assert_eq!(told(&KIND.validate_create(&cron(zoned))), [format!(r#"spec.schedule: Invalid value: "{zoned}": {detail}"#)]);
        assert_eq!(told(&KIND.validate_update(&cron(zoned), &cron(zoned), None)), [""; 0]);
        assert_eq!(told(&KIND.validate_update(&cron(zoned), &cron("0 * * * *"), None)).len(), 1);
    }

    #[test]
    fn time_zones_are_named_in_full() {
        for (zone, detail) in [
            ("Europe/Berlin", None),
            ("Etc/GMT+3", None),
            ("", Some("timeZone must be nil or non-empty string")),
            ("../etc", Some("unknown time zone ../etc")),
            ("Europe//Berlin", Some("unknown time zone Europe//Berlin")),
            ("LOCAL", Some("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")),
        ] {
            let mut object = cron("0 * * * *");
            object["spec"]["timeZone"] = json!(zone);
            let found = KIND.validate_create(&object);
            assert_eq!(found.first().map(|error| &error.detail[..]), detail, "{zone}");
            assert_eq!(told(&KIND.validate_update(&object, &object, None)), [""; 0]);
        }
    }

    #[test]
    fn the_table_shows_schedule_and_state() {
        let object = cron("* * * * *");
        let cells = KIND.cells(&object, 0);
        assert_eq!(cells[1..6], [json!("* * * * *"), json!("<none>"), json!("False"), json!(0), json!("<none>")]);
        assert_eq!((&object["spec"]["concurrencyPolicy"], &object["spec"]["failedJobsHistoryLimit"]), (&json!("Allow"), &json!(1)));
    }
}
