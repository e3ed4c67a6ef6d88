//! 'The aws-auth ConfigMap in your cluster is invalid': each situation from the broken state, by what our output says alone, to the one
//! in which the real authenticator lets the right people in.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Ran, Run};
use crate::support::mappings::SOON;
use crate::support::{Cluster, Judge, eventually};

const NODES: &str = "\
- rolearn: arn:aws:iam::111122223333:role/nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups:
  - system:bootstrappers
  - system:nodes
";

const NODE: &str = "arn:aws:sts::111122223333:assumed-role/nodes/i-0123456789abcdef0";
const ADMIN: &str =
    "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/jane@example.com";
const DEVELOPER: &str = "arn:aws:iam::111122223333:user/people/maria";

/// An administrator by IAM Identity Center, and a user with a path.
const ADMIN_ENTRY: &str = "\
- rolearn: arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_0123456789abcdef
  username: \"{{SessionName}}\"
  groups: [\"system:masters\"]
";
const USERS: &str = "\
- userarn: arn:aws:iam::111122223333:user/people/maria
  username: maria
  groups: [developers]
";

/// A cluster whose aws-auth the real authenticator watches, and a folder to work in.
struct Scene {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl Scene {
    /// Puts these texts in place of what stands.
    async fn stands(&self, data: Value) {
        let delete = [
            "delete",
            "configmap",
            "-n",
            "kube-system",
            "aws-auth",
            "--ignore-not-found",
        ];
        self.cluster.kubectl_ok(&delete, None);
        self.cluster.seed(data).await;
    }

    /// Runs `lint` on the cluster, or on files.
    async fn lint(&self, arguments: &[&str]) -> Ran {
        let run = Run::new([&["lint"], arguments].concat()).on(&self.cluster);
        run.within(self.folder.path()).run_aside().await
    }

    /// Runs a command of ours as it is written.
    async fn own(&self, command: &str) -> Ran {
        let run = Run::new(command.split(' ').skip(1)).on(&self.cluster);
        run.run_aside().await
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("aws-auth.yaml");
        fs::write(&path, text).unwrap();
        path
    }

    fn apply(&self) {
        let path = self.folder.path().join("aws-auth.yaml");
        self.cluster
            .kubectl_ok(&["apply", "-f", path.to_str().unwrap()], None);
    }

    /// Waits until the authenticator lets in exactly these callers of ours, under these names.
    async fn admits(&self, judge: &mut Judge, expected: &[(&str, &str)]) {
        eventually("the right people get in", SOON, async || {
            let mut found = Vec::new();
            for caller in [NODE, ADMIN, DEVELOPER] {
                let answer = judge.map(caller);
                if answer["mapped"] == true {
                    found.push((caller, answer["username"].as_str().unwrap().to_owned()));
                }
            }
            let found: Vec<(&str, &str)> = found
                .iter()
                .map(|(caller, name)| (*caller, name.as_str()))
                .collect();
            if found == expected {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
    }
}

/// The findings of a run.
fn findings(ran: &Ran) -> Vec<Value> {
    let document: Value = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", ran.shown()));
    document["findings"].as_array().unwrap().clone()
}

/// The one finding of this code.
fn finding<'f>(findings: &'f [Value], code: &str) -> &'f Value {
    let mut found = findings.iter().filter(|found| found["code"] == code);
    let one = found
        .next()
        .unwrap_or_else(|| panic!("no {code} in {findings:#?}"));
    assert!(found.next().is_none(), "several {code} in {findings:#?}");
    one
}

/// What stands between backquotes in a sentence, if it begins so.
fn command(text: &str, begins: &str) -> String {
    let code = text
        .split('`')
        .skip(1)
        .step_by(2)
        .find(|code| code.starts_with(begins));
    code.unwrap_or_else(|| panic!("no command in {text:?}"))
        .to_owned()
}

const NODE_NAME: &str = "system:node:{{EC2PrivateDNSName}}";
const EVERYONE: [(&str, &str); 3] = [
    (NODE, NODE_NAME),
    (ADMIN, "{{SessionName}}"),
    (DEVELOPER, "maria"),
];

#[tokio::test]
async fn every_explained_denial_has_a_fix_that_works() {
    let scene = Scene {
        cluster: Cluster::with_operator_rights().await,
        folder: tempfile::tempdir().unwrap(),
    };
    let mut judge = Judge::watch(scene.cluster.admin_kubeconfig());
    unquoted_template(&scene, &mut judge).await;
    paths(&scene, &mut judge).await;
    tabs(&scene, &mut judge).await;
    describe_output(&scene, &mut judge).await;
    missing_node_entry(&scene, &mut judge).await;
    deleted_and_made_again(&scene, &mut judge).await;
}

/// One template without quotes locks everyone out, nodes included.
async fn unquoted_template(scene: &Scene, judge: &mut Judge) {
    let broken = format!("{NODES}{ADMIN_ENTRY}").replace("\"{{SessionName}}\"", "{{SessionName}}");
    scene
        .stands(json!({ "mapRoles": broken, "mapUsers": USERS }))
        .await;
    scene.admits(judge, &[(DEVELOPER, "maria")]).await;

    let told = scene.lint(&["--mode=CONFIG_MAP"]).await;
    assert_eq!(told.code, 1);
    assert!(
        told.stdout
            .contains("error[IM002]: unquoted template in username"),
        "{}",
        told.shown()
    );
    assert!(
        told.stdout
            .contains("none of its principals has access, and no node can join"),
        "{}",
        told.shown()
    );
    assert!(
        told.stdout
            .contains("help: write \"{{SessionName}}\" (fixed by --fix)"),
        "{}",
        told.shown()
    );

    let asked = scene.lint(&["--mode=CONFIG_MAP", "--fix"]).await;
    assert_eq!(asked.code, 1);
    assert!(
        asked
            .stderr
            .contains("not confirmed; nothing was changed. Add --yes to confirm"),
        "{}",
        asked.shown()
    );
    assert_eq!(scene.cluster.roles().await, broken);

    let fixed = scene.lint(&["--mode=CONFIG_MAP", "--fix", "--yes"]).await;
    assert_eq!(fixed.code, 0, "{}", fixed.shown());
    assert_eq!(scene.cluster.roles().await, format!("{NODES}{ADMIN_ENTRY}"));
    scene.admits(judge, &EVERYONE).await;
    assert!(
        fixed
            .stdout
            .contains("arn:aws:iam::111122223333:role/nodes as system:node:"),
        "{}",
        fixed.shown()
    );
    let history = scene.cluster.history().await;
    assert_eq!(history.len(), 1);
    assert_eq!(
        history.first_key_value().unwrap().1["data"]["mapRoles"],
        broken
    );
}

/// A role's path keeps its entry from matching; a user's has to stay.
async fn paths(scene: &Scene, judge: &mut Judge) {
    let path =
        "role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef";
    let broken =
        format!("{NODES}{ADMIN_ENTRY}").replace("role/AWSReservedSSO_Admin_0123456789abcdef", path);
    scene
        .stands(json!({ "mapRoles": broken, "mapUsers": USERS }))
        .await;
    let nobody_else = [(NODE, NODE_NAME), (DEVELOPER, "maria")];
    scene.admits(judge, &nobody_else).await;

    let get = [
        "get",
        "configmap",
        "-n",
        "kube-system",
        "aws-auth",
        "-o",
        "yaml",
    ];
    scene.file(&scene.cluster.kubectl_ok(&get, None));
    let told = findings(&scene.lint(&["aws-auth.yaml", "-o=json"]).await);
    assert_eq!(finding(&told, "IM020")["fixable"], true);
    assert_eq!(told.len(), 1, "{told:#?}");

    let fixed = scene.lint(&["aws-auth.yaml", "--fix"]).await;
    assert_eq!(fixed.code, 0, "{}", fixed.shown());
    scene.apply();
    scene.admits(judge, &EVERYONE).await;
}

/// A tab in the indentation locks everyone out.
async fn tabs(scene: &Scene, judge: &mut Judge) {
    let broken = format!("{NODES}{ADMIN_ENTRY}").replace(
        "  groups: [\"system:masters\"]",
        "\tgroups: [\"system:masters\"]",
    );
    scene
        .stands(json!({ "mapRoles": broken, "mapUsers": USERS }))
        .await;
    scene.admits(judge, &[(DEVELOPER, "maria")]).await;

    let told = findings(&scene.lint(&["--mode=CONFIG_MAP", "-o=json"]).await);
    let tab = finding(&told, "IM003");
    let fix = tab["fix"].as_str().unwrap();
    let number: usize = serde_json::from_value(tab["line"].clone()).unwrap();
    let (_, shown) = fix.split_once('\n').unwrap_or_else(|| panic!("{fix}"));
    let mut lines: Vec<&str> = broken.lines().collect();
    lines[number - 1] = shown;
    scene
        .cluster
        .write_text("kubectl-edit", "mapRoles", &(lines.join("\n") + "\n"))
        .await;
    scene.admits(judge, &EVERYONE).await;
    assert_eq!(scene.lint(&["--mode=CONFIG_MAP"]).await.code, 0);
}

/// What `kubectl describe` prints, kept as a file or pasted into the key.
async fn describe_output(scene: &Scene, judge: &mut Judge) {
    let describe = ["describe", "configmap", "-n", "kube-system", "aws-auth"];
    let printed = scene.cluster.kubectl_ok(&describe, None);
    scene.file(&printed);
    let told = findings(&scene.lint(&["aws-auth.yaml", "-o=json"]).await);
    let found = finding(&told, "IM004");
    let get = command(found["fix"].as_str().unwrap(), "kubectl ");
    let get: Vec<&str> = get.split(' ').skip(1).collect();
    scene.file(&scene.cluster.kubectl_ok(&get, None));
    assert_eq!(scene.lint(&["aws-auth.yaml"]).await.code, 0);

    // Pasted into the key: what describe adds has to go.
    let (_, pasted) = printed.split_once("====\n").unwrap();
    scene
        .cluster
        .write_text("kubectl-edit", "mapRoles", pasted)
        .await;
    scene.admits(judge, &[(DEVELOPER, "maria")]).await;
    let told = findings(&scene.lint(&["--mode=CONFIG_MAP", "-o=json"]).await);
    let fix = finding(&told, "IM004")["fix"].as_str().unwrap();
    assert!(
        fix.starts_with("keep only the lines of the list, from the first `- ` to the next heading"),
        "{fix}"
    );
    let lines = pasted.lines().skip_while(|line| !line.starts_with("- "));
    let list: Vec<&str> = lines
        .take_while(|line| line.starts_with(['-', ' ']))
        .collect();
    scene
        .cluster
        .write_text("kubectl-edit", "mapRoles", &(list.join("\n") + "\n"))
        .await;
    scene.admits(judge, &EVERYONE).await;
}

/// Nobody mapped the nodes' role.
async fn missing_node_entry(scene: &Scene, judge: &mut Judge) {
    scene
        .stands(json!({ "mapRoles": ADMIN_ENTRY, "mapUsers": USERS }))
        .await;
    let people = [(ADMIN, "{{SessionName}}"), (DEVELOPER, "maria")];
    scene.admits(judge, &people).await;

    add_nodes_as_told(scene).await;
    scene.admits(judge, &EVERYONE).await;
    assert_eq!(scene.lint(&["--mode=CONFIG_MAP"]).await.code, 0);
}

/// Adds the entry that the fix spells out.
async fn add_nodes_as_told(scene: &Scene) {
    let told = findings(&scene.lint(&["--mode=CONFIG_MAP", "-o=json"]).await);
    let fix = finding(&told, "IM065")["fix"].as_str().unwrap().to_owned();
    // What the command that it names prints is the role's ARN, which here has no path.
    assert!(command(&fix, "aws eks describe-nodegroup").contains("nodegroup.nodeRole"));
    let (_, entry) = fix.split_once("to mapRoles: ").unwrap();
    let entry = entry.replace("ARN", "arn:aws:iam::111122223333:role/nodes");
    let roles = scene.cluster.roles().await;
    scene
        .cluster
        .write_text("kubectl-edit", "mapRoles", &format!("{roles}- {entry}\n"))
        .await;
}

/// aws-auth was deleted and made again by hand, and the nodes were forgotten. The history of our own writes has them.
async fn deleted_and_made_again(scene: &Scene, judge: &mut Judge) {
    let team =
        "- {rolearn: \"arn:aws:iam::111122223333:role/teams/a\", username: a, groups: [a]}\n";
    let before = format!("{NODES}{ADMIN_ENTRY}{team}");
    scene
        .stands(json!({ "mapRoles": before, "mapUsers": USERS }))
        .await;
    let fix = ["--mode=CONFIG_MAP", "--fix", "--yes"];
    assert_eq!(scene.lint(&fix).await.code, 0);

    let delete = ["delete", "configmap", "-n", "kube-system", "aws-auth"];
    scene.cluster.kubectl_ok(&delete, None);
    scene.admits(judge, &[]).await;
    let gone = scene.lint(&["--mode=CONFIG_MAP"]).await;
    assert!(
        gone.stdout.contains("kube-system/aws-auth does not exist"),
        "{}",
        gone.shown()
    );
    scene.cluster.seed(json!({ "mapRoles": ADMIN_ENTRY })).await;
    scene.admits(judge, &[(ADMIN, "{{SessionName}}")]).await;

    let told = findings(&scene.lint(&["--mode=CONFIG_MAP", "-o=json"]).await);
    let help = finding(&told, "IM065")["fix"].as_str().unwrap();
    let list = scene.own(&command(help, "identity-mapper ")).await;
    // The list is newest first; the copy holds what stood before the fix.
    let newest = list
        .stdout
        .lines()
        .find(|line| line.trim_start().starts_with("1 "));
    assert!(newest.is_some(), "{}", list.shown());
    let restore = command(help, "identity-mapper rollback restore ").replace("COPY", "1");
    let restored = scene
        .own(&format!("{restore} --mode CONFIG_MAP --yes"))
        .await;
    assert_eq!(restored.code, 0, "{}", restored.shown());
    scene.admits(judge, &EVERYONE).await;
    assert_eq!(scene.lint(&fix).await.code, 0);
}
