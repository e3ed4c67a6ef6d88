//! Access entries and mappings that people reported, in `tests/cases/entries`: what commands answer on each.

use super::{Ran, Run};
use crate::support::programs::repository;

/// A command in a folder: the folder, the command, its exit code, and what it says and does not say.
type Row = (
    &'static str,
    &'static str,
    i32,
    &'static [&'static str],
    &'static [&'static str],
);

const ROWS: [Row; 39] = [
    (
        "01-sso-stripped",
        "plan -f map.yaml",
        1,
        &["! sso: PrincipalInvalid: "],
        &["+ create"],
    ),
    (
        "02-creator-exists",
        "plan -f map.yaml",
        0,
        &["~ tag", "access entries 1 to tag."],
        &["create", "delete"],
    ),
    (
        "02-creator-exists",
        "plan -f more.yaml",
        1,
        &[
            "UnmanagedEntry",
            "group \"extra\" missing",
            "spec.adoption: Always",
        ],
        &["~ update"],
    ),
    (
        "03-orphans",
        "access",
        0,
        &["role/old-ng-1", "role/old-ng-2"],
        &[],
    ),
    (
        "04-node-groups",
        "plan -f a.yaml",
        1,
        &["takes no groups"],
        &["+ create"],
    ),
    (
        "04-node-groups",
        "plan -f b.yaml",
        0,
        &["+ create", "type EC2_LINUX"],
        &[],
    ),
    (
        "04-node-groups",
        "plan -f b.yaml --access-entries same.json",
        0,
        &["No changes."],
        &[],
    ),
    (
        "05-node-standard",
        "plan -f always.yaml",
        1,
        &["EKS can't change the type", "aws eks delete-access-entry"],
        &["adoption: Always to adopt"],
    ),
    (
        "05-node-standard",
        "plan -f map.yaml",
        1,
        &["EKS can't change the type", "aws eks delete-access-entry"],
        &["adoption: Always to adopt"],
    ),
    (
        "06-windows-linux",
        "migrate plan --mode API_AND_CONFIG_MAP --to API_AND_CONFIG_MAP",
        1,
        &[
            "these nodes can't work",
            "--type EC2_WINDOWS",
            "Replace the access entries",
        ],
        &["nobody loses", "no principal would lose"],
    ),
    (
        "06-windows-linux",
        "migrate plan --mode API_AND_CONFIG_MAP --to API",
        1,
        &["these nodes can't work", "--type EC2_WINDOWS"],
        &["no principal would lose"],
    ),
    (
        "07-windows-and-linux",
        "migrate plan --mode API_AND_CONFIG_MAP --to API",
        1,
        &["EC2_WINDOWS"],
        &["can't work"],
    ),
    (
        "09-slr-only-policy",
        "plan -f map.yaml",
        1,
        &["AmazonEKSClusterInsightsPolicy can only be associated with service-linked roles"],
        &["+ associate"],
    ),
    ("10-policy-crd", "access", 0, &["AmazonEKS"], &[]),
    (
        "12-typo",
        "plan -f arn.yaml",
        1,
        &["write the policy's name alone, 'AmazonEKSViewPolicy'"],
        &[],
    ),
    (
        "12-typo",
        "plan -f map.yaml",
        1,
        &["spec.accessPolicyAssociations: unknown field"],
        &[],
    ),
    (
        "12-typo",
        "plan -f policyless.yaml",
        1,
        &["required value"],
        &[],
    ),
    (
        "12-typo",
        "plan -f type.yaml",
        1,
        &["unsupported value \"EC2_LINUX\""],
        &[],
    ),
    (
        "13-principals",
        "plan -f session.yaml",
        1,
        &["write arn:aws:iam::111122223333:role/dev"],
        &[],
    ),
    (
        "13-principals",
        "plan -f slr.yaml",
        1,
        &["NotExpressible", "service-linked role"],
        &["+ create"],
    ),
    (
        "13-principals",
        "plan -f wild.yaml",
        1,
        &["no wildcard"],
        &[],
    ),
    ("14-usernames", "plan -f raw.yaml", 0, &["+ create"], &[]),
    (
        "14-usernames",
        "plan -f nocolon.yaml",
        1,
        &["has no colon before {{SessionName}}"],
        &["+ create"],
    ),
    (
        "14-usernames",
        "plan -f sys.yaml",
        1,
        &["begins with \"system:\""],
        &["+ create"],
    ),
    (
        "15-capability",
        "import",
        0,
        &["left out: AWS associates AmazonEKSArgoCDClusterPolicy itself"],
        &["name: argocdcapabilityrole"],
    ),
    (
        "15-capability",
        "plan -f ident.yaml",
        1,
        &["what AWS associated stays"],
        &["disassociate", "- delete"],
    ),
    (
        "15-capability",
        "plan -f add.yaml",
        0,
        &["+ associate", "AmazonEKSAdminViewPolicy"],
        &["disassociate", "- delete"],
    ),
    (
        "16-auto-cluster-role",
        "import",
        0,
        &["left out: ", "role/AmazonEKSAutoClusterRole"],
        &["name: amazoneksautoclusterrole"],
    ),
    (
        "17-to-api",
        "migrate plan --mode API_AND_CONFIG_MAP --to API",
        1,
        &[
            "nodes of several types sign in",
            "(any of account 444455556666)",
        ],
        &[],
    ),
    (
        "18-partitions",
        "plan -f map.yaml",
        0,
        &["arn:aws-us-gov:"],
        &["arn:aws:iam"],
    ),
    ("19-defaults", "plan -f map.yaml", 0, &["No changes."], &[]),
    (
        "20-permission-set",
        "plan -f map.yaml",
        1,
        &["PermissionSetUnresolved"],
        &["+ create"],
    ),
    (
        "22-new-type",
        "plan -f map.yaml",
        1,
        &["upgrade identity-mapper"],
        &["write type EC2_FUTURE"],
    ),
    (
        "24-empty-entry-shadows",
        "plan -f map.yaml --mode API_AND_CONFIG_MAP",
        1,
        &["UnmanagedEntry"],
        &["+ create"],
    ),
    (
        "28-standard-for-nodes",
        "plan -f map.yaml --mode API_AND_CONFIG_MAP",
        1,
        &["UnmanagedEntry"],
        &["+ create"],
    ),
    (
        "30-hybrid",
        "plan -f other.yaml",
        1,
        &["cluster's own account"],
        &["+ create"],
    ),
    (
        "31-type-change",
        "plan -f map.yaml",
        1,
        &[
            "it must be deleted and created",
            "until that exists, nodes that use this role have no access",
        ],
        &["- delete"],
    ),
    (
        "32-adopted-auto",
        "plan -f map.yaml",
        0,
        &[
            "AWS associates AmazonEKSBlockStorageClusterPolicy itself",
            "No changes.",
        ],
        &["disassociate"],
    ),
    (
        "33-aws-made",
        "plan -f map.yaml --access-entries tagged.json",
        0,
        &["tag aws:eks:managed", "deleting this mapping leaves it"],
        &["- delete"],
    ),
];

fn ran(folder: &str, command: &str) -> Ran {
    let within = repository().join("tests/cases/entries").join(folder);
    let mut arguments: Vec<&str> = command.split(' ').collect();
    let given = |arguments: &[&str], flag: &str| arguments.contains(&flag);
    if !given(&arguments, "--access-entries") {
        arguments.extend(["--access-entries", "entries.json"]);
    }
    let both = given(&arguments, "API_AND_CONFIG_MAP");
    if !both {
        arguments.extend(["--mode", "API"]);
    }
    if both && within.join("aws-auth.yaml").exists() {
        arguments.extend(["--aws-auth", "aws-auth.yaml"]);
    }
    Run::new(arguments).within(&within).run()
}

#[test]
fn reported_access_entries_are_answered() {
    let mut wrong = Vec::new();
    for (folder, command, code, says, says_not) in ROWS {
        let ran = ran(folder, command);
        // Text is wrapped for people.
        let words: Vec<&str> = ran
            .stdout
            .split_whitespace()
            .chain(ran.stderr.split_whitespace())
            .collect();
        let said = words.join(" ");
        let missing = says.iter().find(|words| !said.contains(**words));
        let unwanted = says_not.iter().find(|words| said.contains(**words));
        if ran.code != code || missing.is_some() || unwanted.is_some() {
            wrong.push(format!(
                "{folder}: {command}: expected {code}, missing {missing:?}, unwanted {unwanted:?}\n{}",
                ran.shown()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
