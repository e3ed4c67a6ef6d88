//! What the command line costs as people run it: the binary with its start, on an aws-auth of 3,000 entries in a file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use identity_mapper::aws_auth::{Document, read_aws_auth};
use identity_mapper::desired::Desired;
use identity_mapper::import::{ImportOptions, import};
use identity_mapper::observed::{
    AwsState, Bindings, ConfigMapView, HistoryState, Observed, Settings,
};
use identity_mapper::time::Timestamp;

use crate::support::fleet;
use crate::support::programs::operator_binary;
use crate::table::{Human, Sample, Table, children_time, cost};

const ENTRIES: usize = 3000;
/// Runs of each command.
const RUNS: u32 = 40;

/// An aws-auth of roles with the longest names, as `kubectl get -o yaml` prints it: a comment for each, as people write them.
fn aws_auth() -> String {
    let mut roles = fleet::ROLES.to_owned();
    for number in 0..ENTRIES {
        let _ = write!(
            roles,
            "# team {number}\n- rolearn: arn:aws:iam::111122223333:role/{role}\n  username: team-{team:02}:{{{{SessionName}}}}\n  \
             groups:\n  - platform-engineers\n  - team-{team:02}\n",
            role = fleet::role(number),
            team = number % 50,
        );
    }
    let indented = roles
        .lines()
        .fold(String::new(), |text, line| text + "    " + line + "\n");
    format!(
        "apiVersion: v1\ndata:\n  mapRoles: |\n{indented}kind: ConfigMap\nmetadata:\n  name: aws-auth\n  namespace: kube-system\n"
    )
}

/// How long runs of a command take, and what they take of the processors.
struct Cost {
    wall: Sample,
    processor: Duration,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; processor {}", self.wall, Human(self.processor))
    }
}

/// Runs the binary again and again. `code`: how it ends, so that what is measured is what is meant.
fn runs(arguments: &[&str], code: i32) -> Cost {
    let run = || {
        let begun = Instant::now();
        let status = Command::new(operator_binary())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("it starts");
        assert_eq!(status.code(), Some(code), "{arguments:?}");
        begun.elapsed()
    };
    run();
    let before = children_time();
    let wall = (0..RUNS).map(|_| run()).collect();
    Cost {
        wall,
        processor: children_time().saturating_sub(before) / RUNS,
    }
}

fn observed(data: BTreeMap<String, String>) -> Observed {
    Observed {
        now: Timestamp::from_second(1_800_000_000).expect("in range"),
        config_map: Some(ConfigMapView {
            data,
            ..ConfigMapView::default()
        }),
        history: HistoryState::Missing,
        bindings: Bindings::default(),
        aws: AwsState::Off,
        crd_deleting: false,
    }
}

/// Measures and prints.
pub(crate) fn run() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("aws-auth.yaml");
    let manifest = aws_auth();
    fs::write(&path, &manifest).expect("a file");
    let path = Path::to_str(&path).expect("a path of UTF-8");
    let caller = format!(
        "arn:aws:sts::111122223333:assumed-role/{}/someone",
        fleet::role(ENTRIES / 2)
    );
    let mut table = Table::default();
    table.row("bytes of the file", manifest.len());
    table.row("`version`, the start alone", runs(&["version"], 0));
    let file = ["--aws-auth", path, "--mode", "CONFIG_MAP"];
    for (name, arguments, code) in [
        ("`effective`", vec!["effective", path], 0),
        ("`lint`", vec!["lint", path], 0),
        (
            "`explain`",
            [&["explain", caller.as_str()], &file[..]].concat(),
            0,
        ),
        ("`import`", [&["import"], &file[..]].concat(), 0),
    ] {
        table.row(name, runs(&arguments, code));
    }
    let meant = ("kube-system", "aws-auth");
    let data = read_aws_auth(&manifest, meant).expect("a ConfigMap").data;
    table.row(
        "pure: read the ConfigMap",
        Human(cost(|| read_aws_auth(&manifest, meant))),
    );
    table.row(
        "pure: read its entries",
        Human(cost(|| Document::parse(&data))),
    );
    let observed = observed(data);
    let (desired, settings) = (Desired::default(), Settings::default());
    let options = ImportOptions::default();
    table.row(
        "pure: read its entries and import them",
        Human(cost(|| import(&desired, &observed, &settings, options))),
    );
    table.print("The command line on an aws-auth of 3,000 entries, start included");
}
