//! CronJob: jobs on a schedule. When they are due is the controller's.

use super::{job, workload};
use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::selector;
use crate::table::{self, number, text, wide};
use crate::typed::{Kind, namespaced, or_empty};
use k8s_openapi::api::batch::v1;
use serde_json::Value;

pub struct CronJob;

/// Jobs are named after the CronJob with eleven more characters.
const MAX_NAME: usize = 52;

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
        let at = Path::Root.field("spec");
        let spec = or_empty(&object.spec);
        if spec.schedule.is_empty() {
            errors.required(&at.field("schedule"), "");
        } else if !is_schedule(&spec.schedule) {
            errors.invalid(&at.field("schedule"), spec.schedule.as_str(), "expected exactly 5 fields, or a descriptor such as @hourly");
        }
        errors.one_of(&at.field("concurrencyPolicy"), spec.concurrency_policy.as_deref(), &["Allow", "Forbid", "Replace"]);
        errors.non_negative(&at.field("startingDeadlineSeconds"), spec.starting_deadline_seconds.unwrap_or_default());
        errors.non_negative(&at.field("successfulJobsHistoryLimit"), spec.successful_jobs_history_limit.unwrap_or_default());
        errors.non_negative(&at.field("failedJobsHistoryLimit"), spec.failed_jobs_history_limit.unwrap_or_default());
        let template = at.field("jobTemplate");
        match &spec.job_template.spec {
            None => errors.required(&template.field("spec"), ""),
            Some(spec) => job::validate_spec(spec, &template.field("spec"), errors),
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

/// Five fields of the usual characters, or a descriptor.
fn is_schedule(text: &str) -> bool {
    const DESCRIPTORS: &[&str] = &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    if text.starts_with('@') {
        return DESCRIPTORS.contains(&text) || text.strip_prefix("@every ").is_some_and(|d| !d.trim().is_empty());
    }
    let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '/' | ',' | '-' | '?');
    text.split_ascii_whitespace().count() == 5 && text.split_ascii_whitespace().all(|field| field.chars().all(usual))
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

    #[test]
    fn schedules_have_five_fields() {
        for (schedule, right) in
            [("*/5 * * * *", true), ("0 0 1 JAN MON-FRI", true), ("@hourly", true), ("@sometimes", false), ("* * * *", false), ("", false)]
        {
            assert_eq!(KIND.validate_create(&cron(schedule)).is_empty(), right, "{schedule}");
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
