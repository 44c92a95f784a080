//! Prometheus metrics. Labels are kinds, reasons and outcomes; never names of objects or keys.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// Labels of the reconcile counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    kind: &'static str,
    result: &'static str,
}

/// Labels of per-kind metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// All metrics of the operator.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    durations: Family<Kind, Histogram>,
    store_requests: Family<Reconcile, Counter>,
    restarts: Counter,
    leader: Gauge,
    rollouts_under_way: Gauge,
    rollouts_waiting: Gauge,
}

fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("rekey");
        let reconciles = Family::default();
        registry.register("reconciles", "Reconciles by kind and result", reconciles.clone());
        let durations = Family::new_with_constructor(buckets as fn() -> Histogram);
        let help = "Duration of reconciles";
        registry.register_with_unit("reconcile_duration", help, Unit::Seconds, durations.clone());
        let store_requests = Family::default();
        registry.register("store_requests", "Requests to stores by operation and result", store_requests.clone());
        let restarts = Counter::default();
        registry.register("restarts", "Workloads restarted", restarts.clone());
        let leader = Gauge::default();
        registry.register("leader", "1 while this process is the leader", leader.clone());
        let rollouts_under_way = Gauge::default();
        let help = "Rollouts of restarted workloads that are under way";
        registry.register("rollouts_under_way", help, rollouts_under_way.clone());
        let rollouts_waiting = Gauge::default();
        let help = "Workloads that are restarted when another rollout ends";
        registry.register("rollouts_waiting", help, rollouts_waiting.clone());
        Self { registry, reconciles, durations, store_requests, restarts, leader, rollouts_under_way, rollouts_waiting }
    }
}

impl Metrics {
    /// Counts a reconcile; `result` is `ok` or a reason.
    pub fn reconciled(&self, kind: &'static str, result: &'static str, seconds: f64) {
        self.reconciles.get_or_create(&Reconcile { kind, result }).inc();
        self.durations.get_or_create(&Kind { kind }).observe(seconds);
    }

    /// Counts a request to a store; `result` is `ok` or a kind of failure.
    pub fn store_request(&self, operation: &'static str, result: &'static str) {
        self.store_requests.get_or_create(&Reconcile { kind: operation, result }).inc();
    }

    /// Counts a restart.
    pub fn restarted(&self) {
        self.restarts.inc();
    }

    /// Says how many rollouts are under way, and how many wait until another one ends.
    pub fn rollouts(&self, under_way: usize, waiting: usize) {
        self.rollouts_under_way.set(i64::try_from(under_way).unwrap_or(i64::MAX));
        self.rollouts_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Says whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The metrics in the `OpenMetrics` text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            tracing::warn!("the metrics could not be encoded");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `name{label,label}` of each metric, as the reference lists them.
    fn documented() -> BTreeSet<String> {
        let rows = include_str!("../../../docs/reference/metrics.md").lines();
        rows.filter_map(|row| row.strip_prefix("| `")?.split_once("` |").map(|(name, _)| name.to_owned())).collect()
    }

    /// The same of what is served: a histogram is known by its sum.
    fn served(text: &str) -> BTreeSet<String> {
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket"));
        let named = samples.filter_map(|sample| {
            let (name, rest) = sample.split_at(sample.find(['{', ' '])?);
            let name = name.strip_suffix("_sum").unwrap_or(name);
            let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(labels, _)| labels);
            let labels: Vec<&str> =
                labels.unwrap_or_default().split(',').filter_map(|label| Some(label.split_once('=')?.0)).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            Some(format!("{name}{labels}"))
        });
        named.filter(|name| !name.contains("_count")).collect()
    }

    #[test]
    fn every_metric_is_documented_with_its_labels() {
        let metrics = Metrics::default();
        metrics.reconciled("SecretPolicy", "ok", 0.1);
        metrics.store_request("read", "ok");
        metrics.restarted();
        metrics.leads(true);
        assert_eq!(served(&metrics.text()), documented());
    }
}
