//! The chart's alerts and dashboard: what they ask for exists, each alert fires when its page says so, and its link leads there.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Output};

use regex::Regex;
use serde_json::{Value, json};

use crate::support::programs::repository;
use crate::support::supervise::Scratch;
use crate::support::{Cluster, Operator, chart};

const METRICS: &str = include_str!("../../docs/metrics.md");
const ALERTS: &str = include_str!("../../charts/identity-mapper/files/alerts.yaml");
const DASHBOARD: &str = include_str!("../../charts/identity-mapper/files/dashboard.json");

fn rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(ALERTS).unwrap();
    file["groups"][0]["rules"].as_array().unwrap().clone()
}

/// The names of metrics in an expression, without the suffixes of a histogram.
fn metrics(expression: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\bidentity_mapper_\w+").unwrap();
    let names = name.find_iter(expression);
    names
        .map(|found| {
            let name = found.as_str();
            let histogram = ["_bucket", "_sum", "_count"].into_iter();
            let mut histogram = histogram.filter_map(|suffix| name.strip_suffix(suffix));
            histogram.next().unwrap_or(name).to_owned()
        })
        .collect()
}

fn documented(name: &str) -> bool {
    METRICS.contains(&format!("\n| `{name}` |"))
}

#[test]
fn alerts_and_dashboard_ask_for_documented_metrics() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let of_panels = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let of_rules = rules().into_iter();
    let of_rules = of_rules.map(|rule| rule["expr"].as_str().unwrap().to_owned());
    let expressions: Vec<String> = of_panels.chain(of_rules).collect();
    assert!(expressions.len() > 20);
    for expression in expressions {
        let asked = metrics(&expression);
        assert!(!asked.is_empty(), "{expression}");
        for name in asked {
            assert!(documented(&name), "{name} of {expression}");
        }
    }
}

#[test]
fn alerts_are_documented_and_their_links_lead_somewhere() {
    let rows = METRICS.lines();
    let rows = rows.filter_map(|row| row.strip_prefix("| `IdentityMapper"));
    let rows: Vec<(String, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let name = format!("IdentityMapper{}", cells[0].trim_end_matches('`'));
            (name, cells[2].to_owned())
        })
        .collect();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let alerts: Vec<(String, String)> = rules()
        .iter()
        .map(|rule| (text(&rule["alert"]), text(&rule["labels"]["severity"])))
        .collect();
    assert_eq!(rows, alerts);
    for rule in rules() {
        let link = text(&rule["annotations"]["runbook_url"]);
        let link = link.strip_prefix("RUNBOOKS/").expect("a page of docs");
        let (page, anchor) = link.split_once('#').expect("a heading");
        let page = fs::read_to_string(repository().join("docs").join(page)).unwrap();
        let slug = |line: &str| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            heading.replace(' ', "-")
        };
        let mut headings = page.lines().filter(|line| line.starts_with('#'));
        assert!(headings.any(|line| slug(line) == anchor), "{link}");
    }
}

#[test]
fn the_chart_renders_both_where_they_are_asked_for() {
    let none = chart::template(&["authenticationMode=CONFIG_MAP"]);
    let none = String::from_utf8(none.stdout).unwrap();
    assert!(!none.contains("PrometheusRule") && !none.contains("dashboard"));
    let values = [
        "authenticationMode=CONFIG_MAP",
        "alerts.enabled=true",
        "alerts.labels.release=prometheus",
        "alerts.runbooks=https://git.example.com/docs",
        "dashboard.enabled=true",
    ];
    let all = chart::template(&values);
    let words = String::from_utf8_lossy(&all.stderr);
    assert!(all.status.success(), "{words}");
    let documents = crate::support::deployment::documents(&String::from_utf8(all.stdout).unwrap());
    let find = |kind: &str, name: &str| {
        let mut documents = documents.iter();
        documents
            .find(|it| it["kind"] == kind && it["metadata"]["name"] == name)
            .unwrap()
    };
    let rule = find("PrometheusRule", "identity-mapper");
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    let shipped = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(shipped.len(), rules().len());
    for (shipped, file) in shipped.iter().zip(rules()) {
        assert_eq!(shipped["expr"], file["expr"]);
        // Prometheus' own placeholders are not Helm's.
        assert_eq!(
            shipped["annotations"]["summary"],
            file["annotations"]["summary"]
        );
        let link = shipped["annotations"]["runbook_url"].as_str().unwrap();
        assert!(link.starts_with("https://git.example.com/docs/"), "{link}");
    }
    let dashboard = find("ConfigMap", "identity-mapper-dashboard");
    let json = dashboard["data"]["identity-mapper.json"].as_str().unwrap();
    let (shipped, file): (Value, Value) = (
        serde_json::from_str(json).unwrap(),
        serde_json::from_str(DASHBOARD).unwrap(),
    );
    assert_eq!(shipped, file);
}

/// Series with their values, one a minute, in the notation of promtool.
type Series = &'static [(&'static str, &'static str)];

/// For each alert the series, once a minute, that make it fire, and when.
const FIRING: [(&str, Series, &str); 13] = [
    (
        "IdentityMapperAwsAuthInvalid",
        &[("identity_mapper_aws_auth_parses{key=\"mapRoles\"}", "0x60")],
        "1m",
    ),
    (
        "IdentityMapperStalled",
        &[(
            "identity_mapper_mappings{condition=\"Stalled\",status=\"True\"}",
            "2x60",
        )],
        "6m",
    ),
    (
        "IdentityMapperNotReady",
        &[(
            "identity_mapper_mappings{condition=\"Ready\",status=\"False\"}",
            "2x60",
        )],
        "11m",
    ),
    (
        "IdentityMapperContested",
        &[("identity_mapper_contested", "1x60")],
        "6m",
    ),
    (
        "IdentityMapperRemovalHeld",
        &[("identity_mapper_removals_held", "3x60")],
        "1m",
    ),
    (
        "IdentityMapperOrphanedAccess",
        &[("identity_mapper_orphaned_keys", "1x60")],
        "1m",
    ),
    (
        "IdentityMapperNoAdministrator",
        &[(
            "identity_mapper_administrators{backend=\"ConfigMap\",source=\"group\"}",
            "0x60",
        )],
        "6m",
    ),
    (
        "IdentityMapperNotReconciling",
        &[("identity_mapper_passes_total", "7x60")],
        "40m",
    ),
    (
        "IdentityMapperNoLeader",
        &[
            ("identity_mapper_leader{pod=\"a\"}", "0x60"),
            ("identity_mapper_leader{pod=\"b\"}", "0x60"),
        ],
        "3m",
    ),
    (
        "IdentityMapperWriteFails",
        &[("identity_mapper_writes_total{result=\"denied\"}", "0+1x60")],
        "15m",
    ),
    (
        "IdentityMapperEksUnreachable",
        &[
            ("identity_mapper_eks_reachable", "0x60"),
            ("identity_mapper_leader", "1x60"),
        ],
        "11m",
    ),
    (
        "IdentityMapperAccessEntriesNotListed",
        &[
            (
                "identity_mapper_access_entries_listed_timestamp_seconds",
                "0x60",
            ),
            ("identity_mapper_authentication_mode{mode=\"API\"}", "1x60"),
        ],
        "40m",
    ),
    (
        "IdentityMapperThrottled",
        &[(
            "identity_mapper_eks_calls_total{operation=\"CreateAccessEntry\",outcome=\"throttled\"}",
            "0+1x60",
        )],
        "45m",
    ),
];

/// What a healthy operator shows.
const HEALTHY: [(&str, &str); 11] = [
    ("identity_mapper_aws_auth_parses{key=\"mapRoles\"}", "1x60"),
    (
        "identity_mapper_mappings{condition=\"Ready\",status=\"False\"}",
        "0x60",
    ),
    (
        "identity_mapper_administrators{backend=\"ConfigMap\",source=\"group\"}",
        "2x60",
    ),
    ("identity_mapper_passes_total", "0+1x60"),
    ("identity_mapper_writes_total{result=\"denied\"}", "4x60"),
    ("identity_mapper_eks_reachable", "1x60"),
    ("identity_mapper_leader", "1x60"),
    // A standby asks EKS nothing.
    ("identity_mapper_eks_reachable{pod=\"standby\"}", "0x60"),
    ("identity_mapper_leader{pod=\"standby\"}", "0x60"),
    // Not listed for an hour, in a mode in which access entries do not count.
    (
        "identity_mapper_access_entries_listed_timestamp_seconds",
        "0x60",
    ),
    (
        "identity_mapper_authentication_mode{mode=\"CONFIG_MAP\"}",
        "1x60",
    ),
];

fn promtool(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new("promtool").args(arguments).output()
}

/// Whether promtool is missing, which is said on standard error itself: libtest does not keep that back.
fn is_skipped(test: &str) -> bool {
    let is_missing = promtool(&["--version"]).is_err();
    if is_missing {
        let line =
            format!("skipped: {test} (promtool is not installed; apt-get install prometheus)\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    is_missing
}

/// The example of each metric asks for that metric, and Prometheus can read it.
#[test]
fn example_queries_are_valid() {
    const NAME: &str = "monitoring::example_queries_are_valid";
    let rows = METRICS
        .lines()
        .filter(|row| row.starts_with("| `identity_mapper_"));
    let queries: Vec<(&str, &str)> = rows
        .map(|row| {
            let mut quoted = row.split('`');
            let query = row.trim_end_matches("` |").rsplit_once("| `");
            (quoted.nth(1).unwrap(), query.expect("an example").1)
        })
        .collect();
    assert!(queries.len() > 30);
    for (name, query) in &queries {
        assert!(metrics(query).contains(*name), "{name}: {query}");
    }
    if is_skipped(NAME) {
        return;
    }
    let rules: Vec<Value> = (1..)
        .zip(&queries)
        .map(|(number, (_, query))| json!({"record": format!("example:{number}"), "expr": query}))
        .collect();
    let folder = Scratch::new();
    let file = folder.path().join("rules.json");
    let rules = json!({"groups": [{"name": "examples", "rules": rules}]});
    fs::write(&file, rules.to_string()).unwrap();
    let ran = promtool(&["check", "rules", file.to_str().unwrap()]).unwrap();
    let words = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{words}");
}

/// promtool has a reader of `OpenMetrics` where it makes blocks of what was exported elsewhere. It wants the time of each sample.
#[tokio::test]
async fn prometheus_reads_the_operators_open_metrics() {
    const NAME: &str = "monitoring::prometheus_reads_the_operators_open_metrics";
    if is_skipped(NAME) {
        return;
    }
    let cluster = Cluster::with_operator_rights().await;
    let operator = Operator::start(&cluster, &[]).await;
    cluster.establish("a", json!({})).await;
    let text = operator.metrics().await;
    let timed: String = text
        .lines()
        .map(|line| {
            if line.starts_with('#') {
                format!("{line}\n")
            } else {
                format!("{line} 1800000000\n")
            }
        })
        .collect();
    let folder = Scratch::new();
    let read = |text: &str| {
        let (file, blocks) = (folder.path().join("metrics"), folder.path().join("blocks"));
        fs::write(&file, text).unwrap();
        let (file, blocks) = (file.to_str().unwrap(), blocks.to_str().unwrap());
        let ran = promtool(&["tsdb", "create-blocks-from", "openmetrics", file, blocks]).unwrap();
        let words = String::from_utf8_lossy(&ran.stderr).into_owned();
        (ran.status.success(), words)
    };
    let (is_read, words) = read(&timed);
    assert!(is_read, "{words}\n{text}");
    // Text without its end is none.
    let (is_read, words) = read(timed.trim_end().trim_end_matches("# EOF"));
    assert!(!is_read, "{words}");
}

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() {
    const NAME: &str = "monitoring::alerts_fire_when_they_should_and_not_otherwise";
    if is_skipped(NAME) {
        return;
    }
    let series = |all: &[(&str, &str)]| -> Vec<Value> {
        let all = all.iter();
        all.map(|(series, values)| json!({"series": series, "values": values}))
            .collect()
    };
    let query =
        |alert: &str| format!("count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})");
    let fires = FIRING.iter().map(|(alert, all, time)| {
        let firing = json!({"expr": query(alert), "eval_time": time, "exp_samples": [{"labels": "{}", "value": 1}]});
        json!({"interval": "1m", "input_series": series(all), "promql_expr_test": [firing]})
    });
    let quiet = rules().into_iter().map(|rule| {
        let expression = query(rule["alert"].as_str().unwrap());
        json!({"expr": expression, "eval_time": "55m", "exp_samples": []})
    });
    let healthy = json!({"interval": "1m", "input_series": series(&HEALTHY), "promql_expr_test": quiet.collect::<Vec<_>>()});
    let tests: Vec<Value> = fires.chain([healthy]).collect();
    assert_eq!(tests.len(), rules().len() + 1);
    let folder = Scratch::new();
    let rules = repository().join("charts/identity-mapper/files/alerts.yaml");
    let file = folder.path().join("tests.json");
    let test = json!({"rule_files": [rules], "evaluation_interval": "1m", "tests": tests});
    fs::write(&file, test.to_string()).unwrap();
    let ran = promtool(&["test", "rules", file.to_str().unwrap()]).unwrap();
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
}
