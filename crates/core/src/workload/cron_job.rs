//! `batch/v1` `CronJob`.

use k8s_openapi::api::batch::v1::CronJob;

use super::{Job, Kind, Parts, Progress, Project, Workload, assemble};

impl Project for CronJob {
    /// Its status names its Jobs that have not ended, so the Jobs themselves need not be watched.
    fn project(&self) -> Workload {
        let template = self.spec.as_ref().and_then(|spec| spec.job_template.spec.as_ref()).map(|spec| &spec.template);
        let mut workload = assemble(Parts {
            kind: Kind::CronJob,
            metadata: &self.metadata,
            template,
            selector: None,
            progress: Progress::Complete,
        });
        let active = self.status.iter().flat_map(|status| status.active.iter().flatten());
        workload.jobs = active
            .map(|job| Job { name: job.name.clone().unwrap_or_default(), uid: job.uid.clone().unwrap_or_default() })
            .collect();
        workload.jobs.sort();
        let names: Vec<&str> = workload.jobs.iter().map(|job| job.name.as_str()).collect();
        if !names.is_empty() {
            workload.selector = format!("batch.kubernetes.io/job-name in ({})", names.join(","));
        }
        workload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_by_its_job_template_and_knows_the_jobs_that_run() {
        let cron_job: CronJob = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "nightly", "namespace": "shop"},
            "spec": {"schedule": "0 2 * * *", "jobTemplate": {"spec": {"template": {"spec": {"containers": [
                {"name": "c", "envFrom": [{"secretRef": {"name": "db"}}]}]}}}}},
            "status": {"active": [{"kind": "Job", "name": "nightly-2", "uid": "u2"},
                                  {"kind": "Job", "name": "nightly-1", "uid": "u1"}]},
        }))
        .unwrap();
        let workload = cron_job.project();
        assert_eq!(workload.uses.keys().collect::<Vec<_>>(), ["db"]);
        assert_eq!(workload.selector, "batch.kubernetes.io/job-name in (nightly-1,nightly-2)");
        assert_eq!(workload.jobs.iter().map(|job| job.uid.as_str()).collect::<Vec<_>>(), ["u1", "u2"]);
        assert!(!workload.id.kind.rolls());
        let at_rest = CronJob { status: None, ..cron_job }.project();
        assert_eq!((at_rest.jobs.len(), at_rest.selector.as_str()), (0, ""));
    }
}
