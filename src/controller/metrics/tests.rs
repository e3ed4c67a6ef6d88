//! What Prometheus reads, and what docs/metrics.md says of it.

use super::*;
use crate::api::condition::ConditionType;
use crate::aws_auth::Section;

#[test]
fn a_pass_is_counted() {
    let (mut metrics, registry) = Metrics::new(None, &ApiRequests::default());
    let written = Outcome::Written {
        resource_version: "1".to_owned(),
        uid: "u".to_owned(),
    };
    metrics.pass(Duration::from_millis(3), 2, &written);
    metrics.pass(Duration::from_millis(3), 0, &Outcome::NothingToWrite);
    metrics.pass(
        Duration::from_millis(3),
        0,
        &Outcome::Failed(WriteFailure::Denied("no".to_owned())),
    );
    metrics.written_after(Duration::from_millis(5));
    let summary = Summary {
        conditions: [
            ((ConditionType::Ready, "True"), 4),
            ((ConditionType::Ready, "False"), 1),
        ]
        .into(),
        parses: [(Section::Roles, true), (Section::Users, false)].into(),
        dropped: [(Section::Roles, 2)].into(),
        held: 3,
        drift: [("changed", 1)].into(),
        released: true,
        ..Summary::default()
    };
    metrics.show(&summary);
    metrics.show(&summary);
    let text = text(&registry);
    let ready = ConditionType::Ready.as_str();
    for line in [
        "identity_mapper_passes_total 3".to_owned(),
        "identity_mapper_pass_duration_seconds_count 3".to_owned(),
        "identity_mapper_writes_total{result=\"written\"} 1".to_owned(),
        "identity_mapper_writes_total{result=\"conflict\"} 2".to_owned(),
        "identity_mapper_writes_total{result=\"denied\"} 1".to_owned(),
        "identity_mapper_writes_total{result=\"forbidden\"} 0".to_owned(),
        "identity_mapper_change_to_written_seconds_count 1".to_owned(),
        format!("identity_mapper_mappings{{condition=\"{ready}\",status=\"True\"}} 4"),
        "identity_mapper_aws_auth_parses{key=\"mapRoles\"} 1".to_owned(),
        "identity_mapper_aws_auth_parses{key=\"mapUsers\"} 0".to_owned(),
        "identity_mapper_aws_auth_dropped_entries{key=\"mapRoles\"} 2".to_owned(),
        "identity_mapper_removals_held 3".to_owned(),
        "identity_mapper_drift_repaired_total{kind=\"changed\"} 2".to_owned(),
        "identity_mapper_released 1".to_owned(),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing in\n{text}"
        );
    }
}

#[test]
fn eks_is_shown_where_it_is_asked() {
    let (_, registry) = Metrics::new(None, &ApiRequests::default());
    assert!(!text(&registry).contains("_eks_"));
    let calls = Calls::default();
    let (mut metrics, registry) = Metrics::new(Some(&calls), &ApiRequests::default());
    let labels = [("operation", "CreateAccessEntry"), ("outcome", "throttled")];
    calls.calls.get_or_create(&labels).inc();
    calls.rate.set(2.5);
    let mut numbers = EksNumbers {
        mode: Some(Mode::ApiAndConfigMap),
        read: Timestamp::from_second(1000).ok(),
        reachable: true,
        listed: Timestamp::from_second(2000).ok(),
        known: 7,
        described: 5,
        owned: 3,
        waiting: 2,
        running: 1,
        queue: Some(true),
        events: [("change", 4), ("irrelevant", 1)].into(),
    };
    metrics.show_eks(&numbers);
    numbers.events.insert("change", 6);
    metrics.show_eks(&numbers);
    let text = text(&registry);
    for line in [
        "eks_calls_total{operation=\"CreateAccessEntry\",outcome=\"throttled\"} 1",
        "eks_call_rate 2.5",
        "authentication_mode{mode=\"CONFIG_MAP\"} 0",
        "authentication_mode{mode=\"API_AND_CONFIG_MAP\"} 1",
        "authentication_mode_read_timestamp_seconds 1000",
        "eks_reachable 1",
        "access_entries_listed_timestamp_seconds 2000",
        "access_entries{state=\"known\"} 7",
        "access_entries{state=\"described\"} 5",
        "access_entries{state=\"managed\"} 3",
        "access_entry_queue{state=\"waiting\"} 2",
        "access_entry_queue{state=\"in_flight\"} 1",
        "queue_readable 1",
        "queue_messages_total{outcome=\"change\"} 6",
        "queue_messages_total{outcome=\"irrelevant\"} 1",
    ] {
        let line = format!("identity_mapper_{line}");
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing in\n{text}"
        );
    }
}

#[test]
fn a_condition_that_went_shows_zero() {
    let (mut metrics, registry) = Metrics::new(None, &ApiRequests::default());
    let with = |conditions| Summary {
        conditions,
        ..Summary::default()
    };
    metrics.show(&with([((ConditionType::Stalled, "True"), 2)].into()));
    metrics.show(&with([].into()));
    let line = format!(
        "identity_mapper_mappings{{condition=\"{}\",status=\"True\"}} 0",
        ConditionType::Stalled.as_str()
    );
    assert!(text(&registry).lines().any(|found| found == line));
}

#[test]
fn messages_are_counted_over_all_terms() {
    let (mut metrics, registry) = Metrics::new(Some(&Calls::default()), &ApiRequests::default());
    let received = |count| EksNumbers {
        events: [("change", count)].into(),
        ..EksNumbers::default()
    };
    metrics.show_eks(&received(4));
    metrics.hide();
    for count in [1, 2, 2] {
        metrics.show_eks(&received(count));
    }
    let shown = text(&registry);
    let line = "identity_mapper_queue_messages_total{outcome=\"change\"} 6";
    assert!(shown.lines().any(|found| found == line), "{shown}");
}

#[test]
fn a_standby_shows_no_state() {
    let (mut metrics, registry) = Metrics::new(None, &ApiRequests::default());
    assert!(
        text(&registry).contains("identity_mapper_leader 1\n"),
        "where there is no election"
    );
    metrics.show(&Summary {
        conditions: [((ConditionType::Ready, "False"), 2)].into(),
        parses: [(Section::Roles, false)].into(),
        orphaned: 3,
        ..Summary::default()
    });
    metrics.hide();
    let shown = text(&registry);
    for alert in [
        "identity_mapper_mappings{",
        "identity_mapper_aws_auth_parses{",
    ] {
        assert!(!shown.contains(alert), "{shown}");
    }
    assert!(
        shown.contains("identity_mapper_orphaned_keys 0\n"),
        "{shown}"
    );
}

/// Every metric with a value, as `name type labels`.
fn values_of(text: &str) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for line in text.lines() {
        let Some((name, type_)) = line
            .strip_prefix("# TYPE ")
            .and_then(|line| line.split_once(' '))
        else {
            continue;
        };
        let suffix = match type_ {
            "counter" => "_total",
            "histogram" => "_bucket",
            _ => "",
        };
        let sample = format!("{name}{suffix}");
        let mut samples = text.lines().filter_map(|line| line.strip_prefix(&sample));
        let sample = samples.find(|rest| rest.starts_with(['{', ' ']));
        let sample = sample.unwrap_or_else(|| panic!("{name} has no value in\n{text}"));
        let labels = sample.split_once('}').map_or("", |(labels, _)| labels);
        let labels = labels.trim_start_matches('{').split(',');
        let labels: Vec<&str> = labels
            .filter_map(|label| Some(label.split_once('=')?.0))
            .filter(|label| *label != "le")
            .collect();
        let total = if type_ == "counter" { "_total" } else { "" };
        shown.insert(format!("{name}{total} {type_} {}", labels.join(" ")));
    }
    shown
}

/// In a runtime, whose tasks are counted.
#[tokio::test]
async fn every_metric_is_documented_as_it_is() {
    let (calls, requests) = (Calls::default(), ApiRequests::default());
    let labels = [("operation", "CreateAccessEntry"), ("outcome", "ok")];
    calls.calls.get_or_create(&labels).inc();
    let duration = calls
        .duration
        .get_or_create(&[("operation", "CreateAccessEntry")]);
    duration.observe(0.1);
    let (service, operation) = (("service", "iam"), ("operation", "ListRoles"));
    let labels = [service, operation, ("outcome", "ok")];
    calls.others.get_or_create(&labels).inc();
    let duration = calls.others_duration.get_or_create(&[service, operation]);
    duration.observe(0.1);
    let labels = [("verb", "get".to_owned()), ("code", "200".to_owned())];
    requests.requests.get_or_create(&labels).inc();
    let duration = requests.duration.get_or_create(&[("verb", "get")]);
    duration.observe(0.1);
    let (mut metrics, registry) = Metrics::new(Some(&calls), &requests);
    metrics.show(&Summary {
        conditions: [((ConditionType::Ready, "True"), 4)].into(),
        administrators: [((Backend::ConfigMap, "group"), 1)].into(),
        parses: [(Section::Roles, true)].into(),
        dropped: [(Section::Roles, 2)].into(),
        drift: [("changed", 1)].into(),
        ..Summary::default()
    });
    metrics.show_eks(&EksNumbers {
        events: [("change", 1)].into(),
        ..EksNumbers::default()
    });
    let rows = include_str!("../../../docs/metrics.md").lines();
    let rows = rows.filter_map(|row| row.strip_prefix("| `identity_mapper_"));
    let documented: BTreeSet<String> = rows
        .map(|row| {
            let columns: Vec<&str> = row.split('|').map(str::trim).collect();
            let labels = columns[2].replace(['`', ','], "");
            format!(
                "identity_mapper_{} {} {labels}",
                columns[0].trim_end_matches('`'),
                columns[1]
            )
        })
        .collect();
    let text = text(&registry);
    assert_eq!(values_of(&text), documented);
    // What OpenMetrics asks of a text besides: one end, and a help for each (https://prometheus.io/docs/specs/om/open_metrics_spec/).
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
    let count = |what: &str| text.lines().filter(|line| line.starts_with(what)).count();
    assert_eq!(count("# HELP "), count("# TYPE "));
}
