//! `identity-mapper plan`: offline as snapshots, and live against what the operator then does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use insta::assert_snapshot;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::{Ran, Run, run};
use crate::support::eks::{Eks, Mark, Mode, World};
use crate::support::mappings::FOREIGN;
use crate::support::{Cluster, Operator, eventually, fleet};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// Runs it on the examples, whose folder is left out of what it prints.
fn example(arguments: &[&str]) -> String {
    let mut all = vec!["plan".to_owned()];
    all.extend(
        arguments
            .iter()
            .map(|argument| argument.replace("EXAMPLES", EXAMPLES)),
    );
    let ran = Run::new(&all).run();
    ran.shown().replace(EXAMPLES, "EXAMPLES")
}

const FILES: [&str; 4] = [
    "-f",
    "EXAMPLES/mappings",
    "--aws-auth",
    "EXAMPLES/aws-auth.yaml",
];

#[test]
fn a_diff_of_aws_auth() {
    let arguments = [&FILES[..], &["--mode=CONFIG_MAP"]].concat();
    assert_snapshot!(example(&arguments), @r#"
    exit code 0
    --- stdout
    Source: files (mode CONFIG_MAP, aws-auth from EXAMPLES/aws-auth.yaml, 4 mappings).

    --- aws-auth mapRoles (current)
    +++ aws-auth mapRoles (planned)
    @@ -18,3 +18,11 @@
       username: data-reader
       groups:
       - data-readers
    +- rolearn: "arn:aws:iam::111122223333:role/data-reader"
    +  username: "data-reader"
    +  groups:
    +  - "data-readers"
    +- rolearn: "arn:aws:iam::444455556666:role/developers"
    +  username: "developer:{{SessionName}}"
    +  groups:
    +  - "developers"

    --- aws-auth mapUsers (current)
    +++ aws-auth mapUsers (planned)
    @@ -1,4 +1,5 @@
    -- userarn: arn:aws:iam::111122223333:user/people/maria
    -  username: maria
    +- userarn: "arn:aws:iam::111122223333:user/people/maria"
    +  username: "maria"
       groups:
    -  - developers
    +  - "developers"
    +  - "on-call"

    ownership in aws-auth
    ~ mapRoles line 13, arn:aws:iam::111122223333:role/ci-deployer: adopted, text unchanged (mapping ci-deployer)

    Plan: aws-auth 2 to add, 1 to change, 1 to adopt.
    "#);
}

#[test]
fn access_entries_and_what_follows() {
    let entries = ["--access-entries", "EXAMPLES/access-entries.json"];
    let mode = ["--mode=API_AND_CONFIG_MAP", "--handover=Auto"];
    let arguments = [&FILES[..], &entries, &mode].concat();
    assert_snapshot!(example(&arguments), @r#"
    exit code 0
    --- stdout
    Source: files (arn:aws:eks:eu-west-1:111122223333:cluster/main, mode API_AND_CONFIG_MAP, aws-auth from EXAMPLES/aws-auth.yaml, 3 access entries, 4 mappings).

    --- aws-auth mapUsers (current)
    +++ aws-auth mapUsers (planned)
    @@ -1,4 +1,5 @@
    -- userarn: arn:aws:iam::111122223333:user/people/maria
    -  username: maria
    +- userarn: "arn:aws:iam::111122223333:user/people/maria"
    +  username: "maria"
       groups:
    -  - developers
    +  - "developers"
    +  - "on-call"

    ownership in aws-auth
    ~ mapRoles line 13, arn:aws:iam::111122223333:role/ci-deployer: adopted, text unchanged (mapping ci-deployer)

    access entries
    + create       arn:aws:iam::111122223333:role/teams/data/data-reader: type STANDARD, username "data-reader", group data-readers (mapping data-reader)
    + create       arn:aws:iam::444455556666:role/developers: type STANDARD, username "developer:{{SessionName}}", group developers (mapping developers)

    later, without further changes
      right after that: access entries, create: arn:aws:iam::111122223333:role/ci-deployer, arn:aws:iam::111122223333:user/people/maria
      after 24h: aws-auth, removed: arn:aws:iam::111122223333:role/ci-deployer, arn:aws:iam::111122223333:user/people/maria

    Plan: aws-auth 1 to change, 1 to adopt; access entries 2 to create.
    "#);
}

/// A file in a folder of its own.
fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn manifest(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping",
        "metadata": { "name": name }, "spec": spec,
    })
}

/// Mappings in one file.
fn list(items: &[Value]) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// What stands in EKS as `aws eks describe-access-entry` and the like print it.
fn entry(role: &str, type_: &str, username: &str, groups: &[&str]) -> String {
    let arn = format!("arn:aws:iam::111122223333:role/{role}");
    let whole = json!({ "accessEntry": {
        "clusterName": "main", "principalArn": arn, "type": type_, "username": username, "kubernetesGroups": groups,
        "accessEntryArn": format!("arn:aws:eks:eu-west-1:111122223333:access-entry/main/role/111122223333/{role}/0"),
        "createdAt": "2026-01-01T00:00:00Z", "modifiedAt": "2026-01-01T00:00:00Z",
        "tags": { "identity-mapper.dev/installation": "kube-system/aws-auth", "identity-mapper.dev/mapping": role },
    }});
    let policies = json!({
        "clusterName": "main", "principalArn": arn,
        "associatedAccessPolicies": [{
            "policyArn": "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
            "accessScope": { "type": "namespace", "namespaces": ["a"] },
            "associatedAt": "2026-01-01T00:00:00Z", "modifiedAt": "2026-01-01T00:00:00Z",
        }],
    });
    let none =
        json!({ "clusterName": "main", "principalArn": arn, "associatedAccessPolicies": [] });
    format!(
        "{whole}\n{}\n",
        if type_ == "STANDARD" { policies } else { none }
    )
}

#[test]
fn every_kind_of_change_of_an_access_entry_has_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let arn = |role: &str| json!({ "arn": format!("arn:aws:iam::111122223333:role/{role}") });
    let mappings = [
        manifest(
            "changed",
            &json!({ "principal": arn("changed"), "username": "new", "groups": ["b", "c"],
            "accessPolicies": [
                { "policy": "AmazonEKSViewPolicy", "scope": { "type": "Namespace", "namespaces": ["a", "b-*"] } },
                { "policy": "AmazonEKSEditPolicy" },
            ] }),
        ),
        manifest(
            "fewer",
            &json!({ "principal": arn("fewer"), "username": "same", "groups": ["a"] }),
        ),
        manifest(
            "retyped",
            &json!({ "principal": arn("retyped"), "username": "node", "groups": ["a"] }),
        ),
        manifest(
            "masters",
            &json!({ "principal": arn("masters"), "username": "root", "groups": ["system:masters"] }),
        ),
        manifest(
            "set",
            &json!({ "principal": { "permissionSet": { "name": "Admin", "accountId": "111122223333" } } }),
        ),
        manifest(
            "reserved",
            &json!({ "principal": arn("reserved"), "groups": ["system:auditors"] }),
        ),
    ];
    let mappings = file(folder.path(), "mappings.json", &list(&mappings));
    let entries = [
        entry("changed", "STANDARD", "old", &["a", "b"]),
        entry("fewer", "STANDARD", "same", &["a"]),
        entry(
            "retyped",
            "HYBRID_LINUX",
            "system:node:{{SessionName}}",
            &["system:nodes"],
        ),
    ];
    let entries = file(folder.path(), "entries.json", &entries.concat());
    let ran = Run::new([
        "plan",
        "-f",
        &mappings,
        "--access-entries",
        &entries,
        "--mode=API",
    ])
    .run();
    assert_snapshot!(ran.shown(), @r#"
    exit code 1
    --- stdout
    Source: files (arn:aws:eks:eu-west-1:111122223333:cluster/main, mode API, 3 access entries, 6 mappings).

    access entries
    + associate    arn:aws:iam::111122223333:role/changed: AmazonEKSEditPolicy in all namespaces (mapping changed)
    + associate    arn:aws:iam::111122223333:role/changed: AmazonEKSViewPolicy in namespaces a → in namespaces a, b-* (mapping changed)
    ~ update       arn:aws:iam::111122223333:role/changed: username "old" → "new", groups +c -a (mapping changed)
    - disassociate arn:aws:iam::111122223333:role/fewer: AmazonEKSViewPolicy in namespaces a (mapping fewer)
    + create       arn:aws:iam::111122223333:role/masters: type STANDARD, username "root", no groups (mapping masters)
    + associate    arn:aws:iam::111122223333:role/masters: AmazonEKSClusterAdminPolicy in all namespaces (mapping masters)

    mappings that are not active as declared
    ! reserved: NotExpressible: spec.groups: "system:auditors" begins with "system:", which EKS reserves in access entries; bind its roles to a group of your own, and write that one
    ! retyped: UnmanagedEntry: the access entry has type HYBRID_LINUX, and type STANDARD is declared: EKS can't change the type of an access entry, so it must be deleted and created; AWS creates entries of type HYBRID_LINUX and may have created this one; the roles that EKS uses can't be read here, so identity-mapper does not delete it; delete it with `aws eks delete-access-entry --cluster-name main --region eu-west-1 --principal-arn arn:aws:iam::111122223333:role/retyped`; nodes that use this role then lose access; give people a role of their own instead
    ! set: PermissionSetUnresolved: the role of permission set Admin in account 111122223333 can't be resolved: IAM did not answer: IAM is not read with files; plan with the cluster, or write spec.principal.arn

    Plan: access entries 3 to associate, 1 to create, 1 to disassociate, 1 to update. Not active as declared: 3 mappings.
    --- stderr
    error: mapping reserved would not become ready: NotExpressible
    error: mapping retyped would not become ready: UnmanagedEntry
    error: mapping set would not become ready: PermissionSetUnresolved
    "#);
}

#[test]
fn nothing_to_do_is_one_line_more_and_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = json!({
        "principal": { "arn": "arn:aws:iam::111122223333:role/a" }, "username": "other", "groups": ["b"],
    });
    let mappings = file(
        folder.path(),
        "it.json",
        &manifest("a", &mapping).to_string(),
    );
    let foreign = "kind: ConfigMap\ndata:\n  mapRoles: |\n    - rolearn: arn:aws:iam::111122223333:role/a\n      username: a\n";
    let arguments = [
        "plan",
        "-f",
        &mappings,
        "--aws-auth",
        "-",
        "--mode=CONFIG_MAP",
    ];
    assert_snapshot!(run(&arguments, foreign), @r#"
    exit code 1
    --- stdout
    Source: files (mode CONFIG_MAP, aws-auth from standard input, 1 mapping).

    mappings that are not active as declared
    ! a: UnmanagedEntry: mapRoles line 1 is an unmanaged entry that maps arn:aws:iam::111122223333:role/a to username "a" without groups; remove it, declare the same here, or set spec.adoption: Always to adopt it

    No changes. Not active as declared: 1 mapping.
    --- stderr
    error: mapping a would not become ready: UnmanagedEntry
    "#);
}

#[test]
fn as_a_document() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = json!({ "principal": { "arn": "arn:aws:iam::111122223333:role/a" }, "username": "a", "groups": ["b"] });
    let mappings = file(
        folder.path(),
        "it.json",
        &manifest("a", &mapping).to_string(),
    );
    let arguments = [
        "plan",
        "-f",
        &mappings,
        "--aws-auth",
        "-",
        "--mode=CONFIG_MAP",
        "-o=yaml",
    ];
    assert_snapshot!(run(&arguments, "kind: ConfigMap\n"), @r#"
    exit code 0
    --- stdout
    source:
      mode: CONFIG_MAP
      awsAuth: standard input
      accessEntries: 0
      settings:
        handover: Manual
        soak: 24h
        propagation: 30s
        recreatedPrincipals: Report
      mappings: 1
      left: []
      pruned: []
    changes: true
    faults: []
    awsAuth:
      action: update
      keys:
      - key: mapRoles
        before: null
        after: |
          - rolearn: "arn:aws:iam::111122223333:role/a"
            username: "a"
            groups:
            - "b"
      entries:
      - step: added
        arn: arn:aws:iam::111122223333:role/a
        mapping: a
    accessEntries: []
    later: []
    finalizers:
    - a
    mappings:
    - name: a
      conditions:
      - type: Accepted
        status: "True"
        reason: Accepted
        message: the spec is valid and supported
      - type: Ready
        status: "True"
        reason: InEffect
        message: the principal gets exactly the declared identity
      - type: Synced
        status: "True"
        reason: Synced
        message: the entry in aws-auth is as declared and managed
    notes: []
    "#);
}

#[test]
fn what_cannot_be_read_is_an_error_and_nothing_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = json!({ "principal": { "arn": "arn:aws:iam::111122223333:role/a" } });
    let good = file(
        folder.path(),
        "good.json",
        &manifest("a", &mapping).to_string(),
    );
    let twice = "apiVersion: identity-mapper.dev/v1alpha1
kind: IdentityMapping
metadata:
  name: a
spec:
  principal:
    arn: arn:aws:iam::111122223333:role/a
";
    let twice = file(folder.path(), "twice.yaml", &format!("{twice}---\n{twice}"));
    let junk = file(folder.path(), "junk.yaml", "kind: Deployment\n");
    let aws_auth = ["--aws-auth", "-", "--mode=CONFIG_MAP"];
    let mut shown = String::new();
    for (what, arguments) in [
        ("no mappings", &[][..]),
        ("standard input twice", &["-f", "-"]),
        ("a name twice", &["-f", &twice]),
        ("a missing file", &["-f", "/nowhere/mapping.yaml"]),
        ("files without a mapping", &["-f", &junk]),
        ("pruning offline", &["-f", &good, "--prune"]),
        ("a bad setting", &["-f", &good, "--soak=soon"]),
    ] {
        let arguments = [&["plan"], &aws_auth[..], arguments].concat();
        let _ = write!(shown, "{what}: {}", run(&arguments, "kind: ConfigMap\n"));
    }
    let allowed = [
        "plan",
        "--aws-auth",
        "-",
        "--mode=CONFIG_MAP",
        "-f",
        &junk,
        "--allow-empty",
    ];
    assert!(run(&allowed, "kind: ConfigMap\n").contains("No changes."));
    let beside = [
        "plan",
        "--aws-auth",
        "-",
        "--mode=CONFIG_MAP",
        "-f",
        &good,
        "-f",
        &junk,
    ];
    let said = run(&beside, "kind: ConfigMap\n");
    assert!(
        said.contains(&format!("note: no IdentityMapping in {junk}")),
        "{said}"
    );
    let bare = run(&["plan", "-f", &good], "");
    let _ = write!(shown, "no cluster: {bare}");
    let folder = folder.path().to_str().unwrap();
    assert_snapshot!(shown.replace(folder, "FOLDER"), @r#"
    no mappings: exit code 1
    --- stderr
    error: with files instead of a cluster, mappings are also read from files: add -f
    standard input twice: exit code 1
    --- stderr
    error: `-` (standard input) can be read only once: use files for the others
    a name twice: exit code 1
    --- stderr
    error: IdentityMapping a: metadata.name: the name is already used in FOLDER/twice.yaml line 4, and the last one would win
      --> FOLDER/twice.yaml:12:9
       |
    12 |   name: a
       |         ^
       |
       = help: give each mapping a name of its own
    error: a manifest is invalid: the API server would refuse it
    a missing file: exit code 1
    --- stderr
    error: cannot read /nowhere/mapping.yaml: No such file or directory (os error 2)
    files without a mapping: exit code 1
    --- stderr
    error: no IdentityMapping in FOLDER/junk.yaml; --allow-empty accepts that
    pruning offline: exit code 1
    --- stderr
    error: --prune needs a cluster: with files alone there are no other mappings
    a bad setting: exit code 1
    --- stderr
    error: invalid value 'soon' for '--soak <DURATION>': failed to parse input in the "friendly" duration format: expected duration to start with a unit value (a decimal integer) after an optional sign, but no integer was found; write a duration such as 24h

    For more information, try '--help'.
    no cluster: exit code 1
    --- stderr
    error: the kubeconfig that $KUBECONFIG names can't be read: failed to read kubeconfig from '"/nowhere/kubeconfig"': No such file or directory (os error 2)
    "#);
}

// Live.

/// A cluster, AWS, and the flags that plans and the operator share.
struct Stage {
    eks: Eks,
    cluster: Cluster,
}

const SETTINGS: [&str; 2] = ["--handover=Auto", "--propagation=1s"];

impl Stage {
    async fn new() -> Self {
        let cluster = Cluster::with_operator_rights().await;
        let taken = "- rolearn: arn:aws:iam::111122223333:role/taken\n  username: by-hand\n";
        let same = "- {rolearn: \"arn:aws:iam::111122223333:role/same\", username: same, groups: [team]}\n";
        let data = json!({ "mapRoles": format!("{FOREIGN}{taken}{same}") });
        cluster.seed(data).await;
        let mut world = World::new("arn:aws:eks:eu-west-1:111122223333:cluster/test")
            .mode(Mode::ApiAndConfigMap)
            .api_server(&cluster.authority(), cluster.url());
        for role in ["both", "entry", "moved", "same", "taken", "text"] {
            world.role("111122223333", "/", role);
        }
        let eks = Eks::start(world).await;
        Self { eks, cluster }
    }

    /// Runs a plan with these further arguments.
    async fn plan(&self, arguments: &[&str]) -> Ran {
        let name = ["plan", "--cluster-name=test", "--region=eu-west-1"];
        let run = Run::new([&name, &SETTINGS[..], arguments].concat());
        run.on(&self.cluster).with(&self.eks).run_aside().await
    }

    /// The plan as a document.
    async fn document(&self, arguments: &[&str]) -> Value {
        let ran = self.plan(&[&["-o=json"], arguments].concat()).await;
        assert!(!ran.stdout.is_empty(), "{}", ran.shown());
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        let faults = document["faults"] != json!([]);
        assert_eq!(i32::from(faults), ran.code, "{}", ran.shown());
        document
    }

    /// Lets the operator work until a plan has nothing to do, and compares what it did with what was printed.
    async fn executes(&self, plan: &Value) {
        let before = self.cluster.roles().await;
        let mark = self.eks.log().mark();
        let operator = Operator::start_in(&self.cluster, &self.eks, &SETTINGS).await;
        eventually(
            "nothing is left to do",
            Duration::from_mins(1),
            async || {
                let left = self.document(&[]).await;
                (left["changes"] == false).then_some(()).ok_or(left)
            },
        )
        .await;
        // Finalizers are no part of a plan: EKS is asked whether what was deleted is gone.
        for mapping in fleet::list(&self.cluster.admin()).await {
            if mapping.metadata.deletion_timestamp.is_some() {
                self.cluster.gone(&mapping.name_any()).await;
            }
        }
        let (status, _) = operator.stop().await;
        assert!(status.success());

        let steps = steps(plan);
        let mut expected = before;
        for step in &steps {
            for key in step["awsAuth"]["keys"].as_array().into_iter().flatten() {
                assert_eq!(key["key"], "mapRoles");
                assert_eq!(
                    key["before"], expected,
                    "each step begins with what the last one left"
                );
                key["after"].as_str().unwrap().clone_into(&mut expected);
            }
        }
        assert_eq!(self.cluster.roles().await, expected);
        assert_eq!(self.writes(mark), operations(&steps), "{plan:#}");
        self.entries_are_as_printed(&steps);
    }

    /// What the operator called to change entries, by principal, but for the tags, which come when IAM has answered.
    fn writes(&self, mark: Mark) -> BTreeMap<String, Vec<String>> {
        let mut writes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for call in self.eks.log().since(mark) {
            let reads = ["Describe", "List", "Get", "Tag", "Untag"];
            if !call.by_hand && !reads.iter().any(|read| call.operation.starts_with(read)) {
                let principal = call.principal.clone().unwrap_or_default();
                writes
                    .entry(principal)
                    .or_default()
                    .push(call.operation.clone());
            }
        }
        writes
    }

    fn entries_are_as_printed(&self, steps: &[&Value]) {
        let mut last: BTreeMap<&str, Option<&Value>> = BTreeMap::new();
        let mut policies: BTreeMap<&str, BTreeMap<&str, &Value>> = BTreeMap::new();
        for action in steps
            .iter()
            .flat_map(|step| step["accessEntries"].as_array().unwrap())
        {
            let arn = action["principalArn"].as_str().unwrap();
            let policy = action["policyArn"].as_str().unwrap_or_default();
            match action["action"].as_str().unwrap() {
                "create" | "update" => _ = last.insert(arn, Some(&action["after"])),
                "delete" => _ = last.insert(arn, None),
                "associate" => {
                    policies
                        .entry(arn)
                        .or_default()
                        .insert(policy, &action["scope"]);
                }
                "disassociate" => _ = policies.entry(arn).or_default().remove(policy),
                _ => {}
            }
        }
        for (arn, expected) in last {
            let entry = self.eks.world().cluster.entries.get(arn).cloned();
            let found = entry.as_ref().map(|entry| {
                let groups: BTreeSet<&String> = entry.groups.iter().collect();
                json!({ "type": entry.type_, "username": entry.username, "kubernetesGroups": groups })
            });
            assert_eq!(found.as_ref(), expected, "{arn}");
            let standing = entry.iter().flat_map(|entry| &entry.policies);
            let standing: BTreeMap<&str, Value> = standing
                .map(|(policy, association)| {
                    let scope = match &association.namespaces {
                        None => json!({ "type": "cluster" }),
                        Some(names) => json!({ "type": "namespace", "namespaces": names }),
                    };
                    (policy.as_str(), scope)
                })
                .collect();
            for (policy, scope) in policies.get(arn).into_iter().flatten() {
                assert_eq!(standing.get(policy), Some(*scope), "{arn} {policy}");
            }
        }
    }
}

/// What is printed for now, and what follows at once.
fn steps(plan: &Value) -> Vec<&Value> {
    let then = plan["later"].as_array().unwrap().iter();
    let at_once = then.filter(|later| later["after"] == "0s");
    std::iter::once(plan).chain(at_once).collect()
}

/// The operations that are printed, by principal, but for the tags.
fn operations(steps: &[&Value]) -> BTreeMap<String, Vec<String>> {
    let mut operations: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for action in steps
        .iter()
        .flat_map(|step| step["accessEntries"].as_array().unwrap())
    {
        let text = |field: &str| action[field].as_str().unwrap().to_owned();
        if !["tag", "untag"].contains(&text("action").as_str()) {
            operations
                .entry(text("principalArn"))
                .or_default()
                .push(text("operation"));
        }
    }
    operations
}

fn principal(role: &str) -> Value {
    json!({ "arn": format!("arn:aws:iam::111122223333:role/{role}") })
}

#[tokio::test]
#[allow(
    clippy::too_many_lines,
    reason = "one story, with what is printed on the way"
)]
async fn a_plan_printed_is_the_plan_executed() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut mappings = vec![
        // Adopted, then handed over.
        manifest(
            "a-same",
            &json!({ "principal": principal("same"), "username": "same", "groups": ["team"] }),
        ),
        // Made in EKS.
        manifest(
            "b-entry",
            &json!({ "principal": principal("entry"), "groups": ["team"],
            "accessPolicies": [{ "policy": "AmazonEKSViewPolicy", "scope": { "type": "Namespace", "namespaces": ["a"] } }] }),
        ),
        // Written to aws-auth.
        manifest(
            "c-text",
            &json!({ "principal": principal("text"), "backend": "ConfigMap", "groups": ["team"] }),
        ),
        // A conflict.
        manifest(
            "d-taken",
            &json!({ "principal": principal("taken"), "groups": ["team"] }),
        ),
        // Not there.
        manifest(
            "e-missing",
            &json!({ "principal": { "permissionSet": { "name": "Admin", "accountId": "111122223333" } } }),
        ),
        manifest(
            "f-moved",
            &json!({ "principal": principal("both"), "groups": ["team"] }),
        ),
    ];
    let declared = file(folder.path(), "mappings.json", &list(&mappings));

    // From files, before anything is applied; the same once it is.
    let from_files = stage.plan(&["-f", &declared]).await;
    let url = stage.cluster.url();
    assert_snapshot!(from_files.shown().replace(url, "URL"), @r#"
    exit code 1
    --- stdout
    Source: cluster URL (context testbed) (arn:aws:eks:eu-west-1:111122223333:cluster/test, mode API_AND_CONFIG_MAP, aws-auth from kube-system/aws-auth, 0 access entries, 6 mappings).

    --- aws-auth mapRoles (current)
    +++ aws-auth mapRoles (planned)
    @@ -5,3 +5,7 @@
     - rolearn: arn:aws:iam::111122223333:role/taken
       username: by-hand
     - {rolearn: "arn:aws:iam::111122223333:role/same", username: same, groups: [team]}
    +- rolearn: "arn:aws:iam::111122223333:role/text"
    +  username: "arn:aws:sts::111122223333:assumed-role/text/{{SessionName}}"
    +  groups:
    +  - "team"

    ownership in aws-auth
    ~ mapRoles line 7, arn:aws:iam::111122223333:role/same: adopted, text unchanged (mapping a-same)

    access entries
    + create       arn:aws:iam::111122223333:role/both: type STANDARD, username "arn:aws:sts::111122223333:assumed-role/both/{{SessionName}}", group team (mapping f-moved)
    + create       arn:aws:iam::111122223333:role/entry: type STANDARD, username "arn:aws:sts::111122223333:assumed-role/entry/{{SessionName}}", group team (mapping b-entry)
    + associate    arn:aws:iam::111122223333:role/entry: AmazonEKSViewPolicy in namespaces a (mapping b-entry)

    later, without further changes
      right after that: access entries, create: arn:aws:iam::111122223333:role/same
      after 24h: aws-auth, removed: arn:aws:iam::111122223333:role/same

    mappings that are not active as declared
    ! d-taken: UnmanagedEntry: mapRoles line 5 is an unmanaged entry that maps arn:aws:iam::111122223333:role/taken to username "by-hand" without groups; remove it, declare the same here, or set spec.adoption: Always to adopt it
    ! e-missing: PermissionSetUnresolved: account 111122223333 has no role of permission set Admin: assign the set to someone in that account, or fix spec.principal.permissionSet

    Plan: aws-auth 1 to add, 1 to adopt; access entries 1 to associate, 2 to create. Not active as declared: 2 mappings.
    --- stderr
    error: mapping d-taken would not become ready: UnmanagedEntry
    error: mapping e-missing would not become ready: PermissionSetUnresolved
    "#);
    let printed = stage.document(&["-f", &declared]).await;
    stage.cluster.kubectl_ok(&["apply", "-f", &declared], None);
    let applied = stage.document(&[]).await;
    for part in ["awsAuth", "accessEntries", "later", "finalizers"] {
        assert_eq!(printed[part], applied[part], "{part}");
    }
    stage.executes(&applied).await;

    // Changes of what stands, one deletion among them.
    mappings[1]["spec"]["groups"] = json!(["other"]);
    mappings[1]["spec"]["accessPolicies"] = json!([{ "policy": "AmazonEKSEditPolicy" }]);
    mappings[2]["spec"]["username"] = json!("changed");
    mappings[3]["spec"]["adoption"] = json!("Always");
    mappings[5]["spec"]["principal"] = principal("moved");
    mappings.remove(0);
    let declared = file(folder.path(), "mappings.json", &list(&mappings));
    let kept = stage.document(&["-f", &declared]).await;
    assert_eq!(kept["source"]["left"], json!(["a-same"]));
    let pruned = stage.plan(&["-f", &declared, "--prune"]).await;
    assert_snapshot!(pruned.shown().replace(url, "URL"), @r#"
    exit code 1
    --- stdout
    Source: cluster URL (context testbed) (arn:aws:eks:eu-west-1:111122223333:cluster/test, mode API_AND_CONFIG_MAP, aws-auth from kube-system/aws-auth, 3 access entries, 6 mappings).
    1 mapping in the cluster but in none of the files, treated as deleted: a-same.

    --- aws-auth mapRoles (current)
    +++ aws-auth mapRoles (planned)
    @@ -2,10 +2,11 @@
     - rolearn: arn:aws:iam::111122223333:role/nodes
       username: system:node:{{EC2PrivateDNSName}}
       groups: [system:bootstrappers, system:nodes]
    -- rolearn: arn:aws:iam::111122223333:role/taken
    -  username: by-hand
    -- {rolearn: "arn:aws:iam::111122223333:role/same", username: same, groups: [team]}
    +- rolearn: "arn:aws:iam::111122223333:role/taken"
    +  username: "arn:aws:sts::111122223333:assumed-role/taken/{{SessionName}}"
    +  groups:
    +  - "team"
     - rolearn: "arn:aws:iam::111122223333:role/text"
    -  username: "arn:aws:sts::111122223333:assumed-role/text/{{SessionName}}"
    +  username: "changed"
       groups:
       - "team"

    access entries
    + associate    arn:aws:iam::111122223333:role/entry: AmazonEKSEditPolicy in all namespaces (mapping b-entry)
    ~ update       arn:aws:iam::111122223333:role/entry: groups +other -team (mapping b-entry)
    - disassociate arn:aws:iam::111122223333:role/entry: AmazonEKSViewPolicy in namespaces a (mapping b-entry)
    + create       arn:aws:iam::111122223333:role/moved: type STANDARD, username "arn:aws:sts::111122223333:assumed-role/moved/{{SessionName}}", group team (mapping f-moved)
    - delete       arn:aws:iam::111122223333:role/same: type STANDARD, username "same", group team (mapping a-same)

    later, without further changes
      right after that: access entries, create: arn:aws:iam::111122223333:role/taken
      right after that: access entries, delete: arn:aws:iam::111122223333:role/both
      after 24h: aws-auth, removed: arn:aws:iam::111122223333:role/taken

    mappings that are not active as declared
    ! e-missing: PermissionSetUnresolved: account 111122223333 has no role of permission set Admin: assign the set to someone in that account, or fix spec.principal.permissionSet

    Plan: aws-auth 2 to change, 1 to remove; access entries 1 to associate, 1 to create, 1 to delete, 1 to disassociate, 1 to update. Not active as declared: 1 mapping.
    --- stderr
    error: mapping e-missing would not become ready: PermissionSetUnresolved
    "#);
    let printed = stage.document(&["-f", &declared, "--prune"]).await;
    stage.cluster.kubectl_ok(&["apply", "-f", &declared], None);
    stage.cluster.delete("a-same").await;
    stage.executes(&printed).await;

    let rest = stage.plan(&[]).await;
    let rest = rest.shown().replace(url, "URL");
    let rest: Vec<&str> = rest
        .lines()
        .filter(|line| !line.contains(" after 2"))
        .collect();
    assert_snapshot!(rest.join("\n"), @"
    exit code 1
    --- stdout
    Source: cluster URL (context testbed) (arn:aws:eks:eu-west-1:111122223333:cluster/test, mode API_AND_CONFIG_MAP, aws-auth from kube-system/aws-auth, 3 access entries, 5 mappings).

    later, without further changes

    mappings that are not active as declared
    ! e-missing: PermissionSetUnresolved: account 111122223333 has no role of permission set Admin: assign the set to someone in that account, or fix spec.principal.permissionSet

    No changes. Not active as declared: 1 mapping.
    --- stderr
    error: mapping e-missing would not become ready: PermissionSetUnresolved
    ");
}
