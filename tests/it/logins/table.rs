//! Every kind of entry of aws-auth, and of caller.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::*;
use crate::support::programs::{program, repository};

const ROLES: &str = r#"
- rolearn: arn:aws:iam::111122223333:role/Nameless
  groups: [system:masters]
- rolearn: arn:aws:iam::111122223333:role/NamelessTeam
  groups: [team]
- rolearn: arn:aws:iam::111122223333:role/Blank
  username: ''
  groups: [team]
- rolearn: arn:aws:iam::111122223333:role/Number
  username: 12345
  groups: [team]
- rolearn: arn:aws:iam::111122223333:role/NoGroups
  username: no-groups
- rolearn: arn:aws:iam::111122223333:role/OneGroup
  username: one-group
  groups: team
- rolearn: arn:aws:iam::111122223333:role/OneLine
  username: one-line
  groups:
  - a - b
- rolearn: arn:aws:iam::111122223333:role/Session
  username: "{{SessionName}}"
  groups: ["of:{{SessionName}}", "in:{{AccountID}}"]
- rolearn: arn:aws:iam::111122223333:role/Raw
  username: "{{SessionNameRaw}}"
  groups: ["of:{{SessionNameRaw}}"]
- rolearn: arn:aws:iam::111122223333:role/Key
  username: key:{{AccessKeyID}}
- rolearn: arn:aws:iam::111122223333:role/Literal
  username: "{{Foo}}"
  groups: ["{{sessionname}}"]
- rolearn: arn:aws:iam::111122223333:role/Nodes
  username: system:node:{{EC2PrivateDNSName}}
  groups: [system:bootstrappers, system:nodes]
- rolearn: arn:aws:iam::111122223333:role/Twice
  username: first
  groups: [first]
- rolearn: arn:aws:iam::111122223333:role/twice
  username: last
  groups: [last]
- rolearn: arn:aws:iam::111122223333:role/Capitals
  username: Team
  groups: [Team, team]
- rolearn: ARN:AWS:IAM::111122223333:ROLE/CASED
  username: cased
- rolearn: arn:aws:iam::111122223333:role/team/Pathed
  username: pathed
- rolearn: "arn:aws:iam::111122223333:role/Trailing "
  username: trailing
- rolearn: arn:aws:sts::111122223333:assumed-role/Assumed/alice
  username: assumed
- rolearn: arn:aws:iam::111122223333:role/*
  username: anybody
- sso: {permissionSetName: View, accountID: "111122223333"}
  username: view
- rolearn: arn:aws:iam::111122223333:role/AWSReservedSSO_Edit_0123456789abcdef
  username: edit:{{SessionNameRaw}}
- rolearn: arn:aws:iam::111122223333:role/Reserved
  username: system:admin
- rolearn: arn:aws:iam::111122223333:role/Anonymous
  username: system:anonymous
  groups: [team]
- rolearn: arn:aws:iam::111122223333:role/Outsider
  username: outsider
  groups: [system:unauthenticated]
- rolearn: arn:aws:iam::111122223333:user/InRoles
  username: user-in-roles
- rolearn: arn:aws:sts::111122223333:federated-user/Fay
  username: fay:{{SessionName}}
- rolearn: arn:aws-us-gov:iam::111122223333:role/Gov
  username: gov
- rolearn: arn:aws-iso:iam::111122223333:role/Gov
  username: iso
- rolearn: arn:aws-iso-b:iam::111122223333:role/Gov
  username: iso-b
- rolearn: arn:aws-iso-e:iam::111122223333:role/Gov
  username: iso-e
- rolearn: arn:aws-iso-f:iam::111122223333:role/Gov
  username: iso-f
- rolearn: arn:aws-eusc:iam::111122223333:role/Gov
  username: eusc
- rolearn: arn:aws-moon:iam::111122223333:role/Gov
  username: moon
- RoleARN: arn:aws:iam::111122223333:role/Fields
  USERNAME: fields
  Groups: [team]
"#;

const USERS: &str = r"
- userarn: arn:aws:iam::111122223333:user/Bob
  username: bob
  groups: [team]
- userarn: arn:aws:iam::111122223333:user/people/Carol
  username: carol
- userarn: arn:aws:iam::111122223333:user/Dora
  username: dora
- userarn: arn:aws:iam::111122223333:role/InUsers
  username: role-in-users
- userarn: arn:aws:sts::111122223333:federated-user/Fred
  username: fred
- userarn: arn:aws:iam::111122223333:root
  username: root
- userarn: arn:aws:iam::111122223333:user/Erin
  username: erin-one
- userarn: arn:aws:iam::111122223333:user/erin
  username: erin-two
";

const ACCOUNTS: &str = "- 444455556666\n- \"012345678901\"\n";

const EDIT: &str = "AWSReservedSSO_Edit_0123456789abcdef";

/// Who comes, as whom they get in, and in which groups; `None`: they do not.
type Row = (
    &'static str,
    Caller,
    Option<(&'static str, &'static [&'static str])>,
);

#[allow(clippy::too_many_lines, reason = "a table")]
fn rows(world: &mut World) -> Vec<Row> {
    world.instances.insert(
        "i-0123456789abcdef0".to_owned(),
        "ip-10-0-0-1.eu-west-1.compute.internal".to_owned(),
    );
    let mut role = |name: &str, of: &str| session(world, ACCOUNT, name, of);
    let user = |name: &str| {
        let arn = format!("arn:aws:iam::{ACCOUNT}:user/{name}");
        caller(
            &arn,
            &format!("AIDA{}", name.to_uppercase().replace('/', "")),
        )
    };
    let federated = |name: &str| {
        let arn = format!("arn:aws:sts::{ACCOUNT}:federated-user/{name}");
        caller(&arn, &format!("{ACCOUNT}:{name}"))
    };
    let team: &[&str] = &["team"];
    let mut rows: Vec<Row> = vec![
        (
            "a nameless administrator",
            role("Nameless", "x"),
            Some(("", &["system:masters"])),
        ),
        (
            "a nameless member",
            role("NamelessTeam", "x"),
            Some(("", team)),
        ),
        ("an empty name", role("Blank", "x"), Some(("", team))),
        ("a number for a name", role("Number", "x"), Some(("", team))),
        ("no groups", role("NoGroups", "x"), Some(("no-groups", &[]))),
        (
            "a text for a list of groups",
            role("OneGroup", "x"),
            Some(("one-group", &[])),
        ),
        (
            "two groups on one line",
            role("OneLine", "x"),
            Some(("one-line", &["a - b"])),
        ),
        (
            "the session's name",
            role("Session", "alice@example.com"),
            Some((
                "alice-example.com",
                &["in:111122223333", "of:alice-example.com"],
            )),
        ),
        (
            "the session's name as it is",
            role("Raw", "alice@example.com"),
            Some(("alice@example.com", &["of:alice@example.com"])),
        ),
        (
            "an unknown placeholder",
            role("Literal", "x"),
            Some(("{{Foo}}", &["{{sessionname}}"])),
        ),
        (
            "a node",
            role("Nodes", "i-0123456789abcdef0"),
            Some((
                "system:node:ip-10-0-0-1.eu-west-1.compute.internal",
                &["system:bootstrappers", "system:nodes"],
            )),
        ),
        ("a node's role, by a person", role("Nodes", "alice"), None),
        (
            "an instance that EC2 does not know",
            role("Nodes", "i-0123456789abcdef1"),
            None,
        ),
        (
            "a role twice: the last",
            role("Twice", "x"),
            Some(("last", &["last"])),
        ),
        (
            "capitals are kept",
            role("Capitals", "x"),
            Some(("Team", &["Team", "team"])),
        ),
        (
            "the case of ARNs is ignored",
            role("Cased", "x"),
            Some(("cased", &[])),
        ),
        ("a role with its path", role("Pathed", "x"), None),
        ("a blank after the ARN", role("Trailing", "x"), None),
        ("the ARN of a session", role("Assumed", "alice"), None),
        (
            "a role that only a wildcard would match",
            role("Stranger", "x"),
            None,
        ),
        (
            "`sso`",
            role("AWSReservedSSO_View_0123456789abcdef", "x"),
            None,
        ),
        (
            "a permission set's role",
            role(EDIT, "bob@example.com"),
            Some(("edit:bob@example.com", &[])),
        ),
        (
            "a reserved name",
            role("Reserved", "x"),
            Some(("system:admin", &[])),
        ),
        (
            "fields in any case",
            role("Fields", "x"),
            Some(("fields", team)),
        ),
        (
            "a role among the users",
            role("InUsers", "x"),
            Some(("role-in-users", &[])),
        ),
        (
            "a user among the roles",
            user("InRoles"),
            Some(("user-in-roles", &[])),
        ),
        ("a user", user("Bob"), Some(("bob", team))),
        (
            "a user with its path",
            user("people/Carol"),
            Some(("carol", &[])),
        ),
        ("a user whose path is missing", user("people/Dora"), None),
        ("a user without the path that it had", user("Carol"), None),
        ("a federated user", federated("Fred"), Some(("fred", &[]))),
        (
            "a federated user has no session",
            federated("Fay"),
            Some(("fay:", &[])),
        ),
        (
            "an account's root",
            caller(&format!("arn:aws:iam::{ACCOUNT}:root"), ACCOUNT),
            Some(("root", &[])),
        ),
        ("the same role of another partition", role("Gov", "x"), None),
        (
            "a user of an account",
            caller("arn:aws:iam::444455556666:user/people/Una", "AIDAUNA"),
            Some(("arn:aws:iam::444455556666:user/people/Una", &[])),
        ),
    ];
    for (partition, username) in [
        ("aws-us-gov", Some("gov")),
        ("aws-iso", Some("iso")),
        ("aws-iso-b", Some("iso-b")),
        ("aws-iso-e", Some("iso-e")),
        ("aws-iso-f", Some("iso-f")),
        ("aws-eusc", Some("eusc")),
        // The authenticator knows no other.
        ("aws-moon", None),
        ("aws-iso-g", None),
    ] {
        let arn = format!("arn:{partition}:sts::{ACCOUNT}:assumed-role/Gov/x");
        let found: Option<(&str, &[&str])> = username.map(|username| (username, &[][..]));
        rows.push((partition, caller(&arn, "AROAGOV:x"), found));
    }
    let whole = session(world, "444455556666", "Whole", "x");
    let zeros = session(world, "012345678901", "Whole", "x");
    rows.push((
        "a role of an account",
        whole,
        Some(("arn:aws:iam::444455556666:role/Whole", &[])),
    ));
    rows.push((
        "zeros of an account are kept",
        zeros,
        Some(("arn:aws:iam::012345678901:role/Whole", &[])),
    ));
    rows
}

/// Roles and bindings: the team reads pods in the namespace `default`.
const TEAM: &str = r#"
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "team", "namespace": "default"},
    "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "team", "namespace": "default"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "team"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "team"}]}
]}
"#;

#[tokio::test]
async fn every_kind_of_entry_and_caller() {
    let cluster = Cluster::with_logins().await;
    cluster
        .seed(json!({"mapRoles": ROLES, "mapUsers": USERS, "mapAccounts": ACCOUNTS}))
        .await;
    cluster.kubectl_ok(&["apply", "-f", "-"], Some(TEAM));
    let mut world = World::new(ARN);
    world = world.mode(Mode::ConfigMap);
    let rows = rows(&mut world);
    let eks = Eks::start(world).await;
    let logins = Logins::start(&cluster, &eks).await;
    open(&logins, &eks, &rows[0].1).await;

    for (what, caller, expected) in &rows {
        let found = enters(&logins, &eks, caller).await;
        let expected = expected.map(|(username, groups)| {
            let groups = groups.iter().map(|&group| group.to_owned()).collect();
            (username.to_owned(), groups)
        });
        assert_eq!(found, expected, "{what}: {}", logins.log());
    }

    what_a_login_carries(&logins, &eks).await;
    rights(&logins, &eks).await;
    tokens(&logins, &eks).await;
    chance(&logins, &eks).await;

    // Nodes that were seen before are known by name; others wait for EC2 in vain.
    let node = |id| eks.world().session(ACCOUNT, "Nodes", id);
    let (known, other) = ("i-0123456789abcdef0", "i-0123456789abcdef2");
    eks.world()
        .instances
        .insert(other.to_owned(), "ip-10-0-0-2".to_owned());
    eks.knobs().no_instances = true;
    assert!(enters(&logins, &eks, &node(known)).await.is_some());
    assert_eq!(enters(&logins, &eks, &node(other)).await, None);
    eks.knobs().no_instances = false;
    let found = enters(&logins, &eks, &node(other)).await.unwrap();
    assert_eq!(found.0, "system:node:ip-10-0-0-2");
}

/// The id and the extras of a login: what the API server's audit log and authorizers know of it.
async fn what_a_login_carries(logins: &Logins, eks: &Eks) {
    let caller = eks
        .world()
        .session(ACCOUNT, "NoGroups", "alice@example.com");
    let id = caller.user_id.split(':').next().unwrap();
    let user = logins.who(&eks.token(&caller)).await.unwrap();
    assert_eq!(
        user.uid,
        Some(format!("aws-iam-authenticator:{ACCOUNT}:{id}"))
    );
    let extra = user.extra.unwrap();
    let one = |name: &str| extra[name].join(",");
    assert_eq!(one("arn"), caller.arn);
    assert_eq!(
        one("canonicalArn"),
        format!("arn:aws:iam::{ACCOUNT}:role/NoGroups")
    );
    assert_eq!(one("principalId"), id);
    assert_eq!(one("sessionName"), "alice@example.com");
    let key = one("accessKeyId");
    assert!(key.starts_with("AKIDEXAMPLE"), "{key}");

    let caller = session(&mut eks.world(), ACCOUNT, "Key", "x");
    let user = logins.who(&eks.token(&caller)).await.unwrap();
    let key = user.extra.unwrap()["accessKeyId"].join(",");
    assert_eq!(user.username, Some(format!("key:{key}")));
}

/// What logins may do, asked by doing it.
async fn rights(logins: &Logins, eks: &Eks) {
    const PODS: &str = "/api/v1/namespaces/default/pods";
    const SECRETS: &str = "/api/v1/secrets";
    for (role, pods, secrets) in [
        ("Nameless", 200, 200),
        ("NamelessTeam", 200, 403),
        ("Blank", 200, 403),
        ("NoGroups", 403, 403),
        ("OneGroup", 403, 403),
        // `Team` is not `team`, and this one is in both.
        ("Capitals", 200, 403),
        ("Reserved", 403, 403),
        ("Stranger", 401, 401),
        // Neither of these two is in system:authenticated.
        ("Anonymous", 200, 403),
        ("Outsider", 403, 403),
    ] {
        let caller = session(&mut eks.world(), ACCOUNT, role, "x");
        let token = eks.token(&caller);
        assert_eq!(logins.get(&token, PODS).await, pods, "{role}");
        assert_eq!(logins.get(&token, SECRETS).await, secrets, "{role}");
    }
    // Not even who they are may they ask.
    for (role, name) in [("Anonymous", "system:anonymous"), ("Outsider", "outsider")] {
        let caller = session(&mut eks.world(), ACCOUNT, role, "x");
        let Denied { code, message } = logins.who(&eks.token(&caller)).await.unwrap_err();
        assert_eq!(code, 403, "{message}");
        assert!(message.contains(&format!("User \"{name}\"")), "{message}");
    }
}

/// Tokens that are no good, and those of the real clients.
async fn tokens(logins: &Logins, eks: &Eks) {
    let caller = eks.world().session(ACCOUNT, "NoGroups", "x");
    let host = "sts.eu-west-1.amazonaws.com";
    let other = eks.token_by(&caller, "other", host);
    assert!(
        logins.who(&other).await.unwrap_err().is_unauthorized(),
        "another cluster's"
    );
    let mut ended = caller.clone();
    ended.expires = Some(eks.world().now);
    assert_eq!(
        enters(logins, eks, &ended).await,
        None,
        "credentials that have ended"
    );
    let client = ["token", "--token-only", "--cluster-id=test"];
    let script = repository().join("tests/it/logins/get_token.py");
    let script = [script.to_str().unwrap(), "eu-west-1", "test"];
    for (program, args) in [
        (program("aws-iam-authenticator"), client),
        (program("venv/bin/python"), script),
    ] {
        let token = printed(eks, &caller, &program, &args);
        let user = logins.who(token.trim()).await.unwrap();
        assert_eq!(user.username.as_deref(), Some("no-groups"));
    }
}

/// What a client that is not ours prints, run as this caller.
fn printed(eks: &Eks, caller: &Caller, program: &Path, args: &[&str]) -> String {
    let key = eks.world().key_of(caller.clone());
    let environment = eks.env_as(&key).into_iter();
    // Who signs for STS itself is told nothing of the stand-in.
    let environment = environment.filter(|(name, _)| !name.starts_with("AWS_ENDPOINT_URL"));
    let output = Command::new(program)
        .args(args)
        .env_clear()
        .envs(environment)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A user that stands there twice, in different case, is either.
async fn chance(logins: &Logins, eks: &Eks) {
    let erin = caller("arn:aws:iam::111122223333:user/Erin", "AIDAERIN");
    let mut seen = BTreeSet::new();
    eventually("erin is either", SOON, async || {
        seen.insert(enters(logins, eks, &erin).await.unwrap().0);
        seen.len() == 2
    })
    .await;
    assert_eq!(
        seen,
        BTreeSet::from(["erin-one".to_owned(), "erin-two".to_owned()])
    );
}
