//! The chart's alerts and dashboard: what they ask for exists, each alert fires when its page says so, and its link leads there.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};

use crate::support::chart;
use crate::support::programs::repository;
use crate::support::supervise::Scratch;

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

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() {
    const NAME: &str = "monitoring::alerts_fire_when_they_should_and_not_otherwise";
    let promtool = |arguments: &[&str]| Command::new("promtool").args(arguments).output();
    if promtool(&["--version"]).is_err() {
        eprintln!("{NAME}: skipped, promtool is missing (Debian: apt-get install prometheus)");
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
