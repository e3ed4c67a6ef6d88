//! `identity-mapper lint` in pipelines: the action's steps as a runner takes them, pre-commit, and the examples for Argo CD and Flux.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use insta::assert_snapshot;
use serde_json::Value;

use super::{Ran, Run};
use crate::support::Cluster;
use crate::support::deployment::documents;
use crate::support::programs::{operator_binary, program, repository};

const ACTION: &str = include_str!("../../../action.yml");

/// The search path of a shell in which identity-mapper is installed.
fn path() -> OsString {
    let mut path = operator_binary().parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

/// Runs the steps of the action as a runner does: with bash, which ends at the first failure. The runner fills in the inputs.
fn act(folder: &Path, inputs: &[(&str, &str)]) -> (Option<i32>, String) {
    let action: Value = serde_saphyr::from_str(ACTION).unwrap();
    let declared = action["inputs"].as_object().unwrap();
    let mut values: BTreeMap<String, String> = declared
        .iter()
        .map(|(name, input)| (name.clone(), input["default"].as_str().unwrap().to_owned()))
        .collect();
    for (name, value) in inputs {
        let before = values.insert((*name).to_owned(), (*value).to_owned());
        assert!(before.is_some(), "{name} is no input of the action");
    }
    let mut printed = String::new();
    for (number, step) in action["runs"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        assert_eq!(step["shell"], "bash");
        let script = step["run"].as_str().unwrap();
        assert!(
            !script.contains("${{"),
            "text of inputs would be code: {script}"
        );
        let file = folder.join(format!("../step-{number}.sh"));
        fs::write(&file, script).unwrap();
        let mut shell = Command::new("bash");
        shell
            .args(["--noprofile", "--norc", "-eo", "pipefail"])
            .arg(&file);
        shell.current_dir(folder).env_clear().env("PATH", path());
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            let input = value.as_str().unwrap().strip_prefix("${{ inputs.");
            let input = input.and_then(|it| it.strip_suffix(" }}")).unwrap();
            shell.env(name, &values[input]);
        }
        let Output {
            status,
            stdout,
            stderr,
        } = shell.output().unwrap();
        printed += &String::from_utf8(stdout).unwrap();
        printed += &String::from_utf8(stderr).unwrap();
        if !status.success() {
            return (status.code(), printed);
        }
    }
    (Some(0), printed)
}

const MAPPING: &str = "apiVersion: identity-mapper.dev/v1alpha1
kind: IdentityMapping
metadata: {name: team}
spec:
  principal: {arn: arn:aws:iam::111122223333:role/team}
  groups: [system:master]
";

#[test]
fn the_action_annotates_fails_and_writes_sarif() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("checkout");
    fs::create_dir_all(folder.join("access, and $(more)")).unwrap();
    fs::write(folder.join("access, and $(more)/team.yaml"), MAPPING).unwrap();
    fs::write(folder.join("other.yaml"), "kind: Deployment\n").unwrap();
    let (code, printed) = act(&folder, &[("sarif", "lint.sarif")]);
    assert_eq!(code, Some(1));
    assert_snapshot!(printed, @r#"
    ::error file=access%2C and $(more)/team.yaml,line=6,col=12,title=IM041%3A misspelled group "system%3Amaster"::the authenticator sees the group "system:master", which grants nothing%0Agroups are compared character by character: no binding names this one%0Afix: write "system:masters", if that is the intended group
    "#);
    let log: Value = serde_json::from_slice(&fs::read(folder.join("lint.sarif")).unwrap()).unwrap();
    assert_eq!(log["runs"][0]["results"].as_array().unwrap().len(), 1);
    let named = ("paths", "access, and $(more)\nother.yaml\n");
    assert_eq!(act(&folder, &[named]), (code, printed));
    assert_eq!(
        act(&folder, &[("paths", "other.yaml")]),
        (Some(0), String::new())
    );
    assert_eq!(
        act(&folder, &[("ignore", "IM041")]),
        (Some(0), String::new())
    );
    let mode = [
        ("ignore", "IM041"),
        ("mode", "API"),
        (
            "cluster-arn",
            "arn:aws:eks:eu-west-1:111122223333:cluster/main",
        ),
    ];
    let (code, printed) = act(&folder, &mode);
    // Access entries refuse the prefix.
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("title=IM072%3A"), "{printed}");
    let (code, printed) = act(&folder, &[("paths", "missing.yaml")]);
    assert_eq!(code, Some(1));
    assert!(printed.contains("cannot read missing.yaml"), "{printed}");
}

fn git(folder: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.current_dir(folder)
        .args(["-c", "user.name=test", "-c", "user.email=test@example.com"]);
    let output = git.args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn pre_commit_checks_what_is_committed() {
    let installed = Command::new("pre-commit").arg("--version").output().is_ok();
    if !installed {
        // On standard error itself, which libtest does not keep back.
        let line = "skipped: cli::lint_pipelines::pre_commit_checks_what_is_committed (pre-commit is not installed; apt-get install pre-commit)\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let (hooks, folder) = (work.path().join("hooks"), work.path().join("infra"));
    for folder in [&hooks, &folder] {
        fs::create_dir(folder).unwrap();
        git(folder, &["init", "--quiet"]);
    }
    fs::copy(
        repository().join(".pre-commit-hooks.yaml"),
        hooks.join(".pre-commit-hooks.yaml"),
    )
    .unwrap();
    git(&hooks, &["add", "."]);
    git(&hooks, &["commit", "--quiet", "-m", "hooks"]);
    git(&hooks, &["tag", "v0.1.0"]);
    let config = format!(
        "repos:\n- repo: {}\n  rev: v0.1.0\n  hooks:\n  - id: identity-mapper-lint\n    args: [--min-severity, warning]\n",
        hooks.display()
    );
    fs::write(folder.join(".pre-commit-config.yaml"), config).unwrap();
    let check = || {
        git(&folder, &["add", "."]);
        let mut check = Command::new("pre-commit");
        check.args(["run", "--color=never"]).current_dir(&folder);
        let home = work.path().join("home");
        let output = check
            .env("PATH", path())
            .env("PRE_COMMIT_HOME", home)
            .env_remove("GIT_DIR")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.code(),
            printed + &String::from_utf8_lossy(&output.stderr),
        )
    };
    // Nothing of it is in the first commit: YAML of other kinds alone.
    fs::write(folder.join("other.yaml"), "kind: Deployment\n").unwrap();
    let (code, printed) = check();
    assert_eq!(code, Some(0), "{printed}");
    assert!(
        printed.contains("identity-mapper lint") && printed.contains("Passed"),
        "{printed}"
    );
    fs::write(folder.join("team.yaml"), MAPPING).unwrap();
    fs::write(
        folder.join("same.yaml"),
        MAPPING
            .replace("name: team", "name: same")
            .replace("system:master", "g"),
    )
    .unwrap();
    let (code, printed) = check();
    assert_eq!(code, Some(1), "{printed}");
    // Also what is wrong only between two files.
    assert!(
        printed.contains("error[IM041]") && printed.contains("IM071"),
        "{printed}"
    );
}

/// A folder as kustomize renders it, by kubectl.
fn kustomize(folder: &str) -> Vec<Value> {
    let mut kubectl = Command::new(program("kubectl"));
    kubectl.args([
        "kustomize",
        "--load-restrictor=LoadRestrictionsNone",
        folder,
    ]);
    let output = kubectl.current_dir(repository()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    documents(&String::from_utf8(output.stdout).unwrap())
}

fn of_kind<'d>(documents: &'d [Value], kind: &str) -> Vec<&'d Value> {
    documents.iter().filter(|it| it["kind"] == kind).collect()
}

/// Runs the Job's container as the kubelet would, with its ConfigMap where it is mounted.
fn run_job(documents: &[Value], change: impl Fn(&str) -> String) -> Ran {
    let job = of_kind(documents, "Job")[0];
    let spec = &job["spec"]["template"]["spec"];
    let mounted = spec["volumes"][0]["configMap"]["name"].as_str().unwrap();
    let config_map = of_kind(documents, "ConfigMap")[0];
    assert_eq!(config_map["metadata"]["name"], mounted);
    let volume = tempfile::tempdir().unwrap();
    for (name, text) in config_map["data"].as_object().unwrap() {
        let data = volume.path().join("..data");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join(name), change(text.as_str().unwrap())).unwrap();
        std::os::unix::fs::symlink(Path::new("..data").join(name), volume.path().join(name))
            .unwrap();
    }
    let container = &spec["containers"][0];
    let at = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    let arguments = container["args"].as_array().unwrap().iter();
    let arguments = arguments.map(|it| {
        it.as_str()
            .unwrap()
            .replace(at, volume.path().to_str().unwrap())
    });
    Run::new(arguments).run()
}

/// Applies objects to the API server without keeping them.
fn would_be_applied(cluster: &Cluster, documents: &[Value]) {
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": documents});
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), list.to_string()).unwrap();
    let mut kubectl = Command::new(program("kubectl"));
    kubectl.env("KUBECONFIG", cluster.admin_kubeconfig());
    kubectl.args([
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "-f",
    ]);
    let output = kubectl.arg(file.path()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn argo_cd_and_flux_check_mappings_before_they_are_applied() {
    let cluster = Cluster::with_operator_rights().await;
    let argo = kustomize("deploy/argocd");
    let flux = [
        kustomize("deploy/flux/lint"),
        kustomize("deploy/flux/mappings"),
    ]
    .concat();
    for documents in [&argo, &flux] {
        would_be_applied(&cluster, documents);
        // What the Job checks is what is applied.
        let checked = of_kind(documents, "ConfigMap")[0]["data"]
            .as_object()
            .unwrap();
        let checked: Vec<Value> = checked
            .values()
            .flat_map(|text| super::super::support::deployment::documents(text.as_str().unwrap()))
            .collect();
        let applied: Vec<Value> = of_kind(documents, "IdentityMapping")
            .into_iter()
            .cloned()
            .collect();
        assert_eq!(checked, applied);
        let ran = run_job(documents, str::to_owned);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "No problems found.\n"));
        let broken = run_job(documents, |text| {
            text.replace("groups: [", "groups: [system:master, ")
        });
        assert_eq!(broken.code, 1, "{}", broken.stdout);
    }
    // Argo CD: both are hooks, the ConfigMap before the Job.
    let notes = |kind: &str| of_kind(&argo, kind)[0]["metadata"]["annotations"].clone();
    for kind in ["Job", "ConfigMap"] {
        assert_eq!(notes(kind)["argocd.argoproj.io/hook"], "PreSync");
        assert_eq!(
            notes(kind)["argocd.argoproj.io/hook-delete-policy"],
            "BeforeHookCreation"
        );
    }
    assert_eq!(notes("ConfigMap")["argocd.argoproj.io/sync-wave"], "-1");
    // Flux: the mappings wait for the Job, which a change replaces.
    let objects =
        documents(&fs::read_to_string(repository().join("deploy/flux/flux.yaml")).unwrap());
    let [lint, mappings] = objects.as_slice() else {
        panic!("two Kustomizations")
    };
    assert_eq!(
        mappings["spec"]["dependsOn"][0]["name"],
        lint["metadata"]["name"]
    );
    assert_eq!(
        (&lint["spec"]["wait"], &lint["spec"]["force"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    for object in &objects {
        let path = object["spec"]["path"].as_str().unwrap();
        assert!(
            repository().join(path).join("kustomization.yaml").is_file(),
            "{path}"
        );
    }
}
