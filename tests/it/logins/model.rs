//! The tests' own answer to 'who may do what now?' (`support/power`) against people who log in, on generated clusters; and the
//! operator's own, see [`effective`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity_mapper::aws_auth::Document;
use identity_mapper::observed::Iam;
use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::*;
use crate::power::agreement::all;
use crate::support::eks::{Association, Entry, Principal};
use crate::support::power::{self, Door, Objects, Rbac, Request, Scene};

/// Generated clusters.
const CASES: usize = 300;
/// So many in a row have one mode.
const RUN: usize = 10;
const OTHER: &str = "444455556666";
const INSTANCE: &str = "i-0123456789abcdef0";

/// ARNs as somebody may write them into aws-auth: those of the callers, and those that are none of theirs though they look like it.
const ARNS: [&str; 14] = [
    "arn:aws:iam::111122223333:role/Dev",
    "arn:aws:iam::111122223333:role/dev",
    "arn:aws:iam::111122223333:role/teams/Dev",
    "arn:aws:iam::111122223333:role/Ops",
    "arn:aws:iam::111122223333:role/Nodes",
    "'arn:aws:iam::111122223333:role/Ops '",
    "arn:aws:sts::111122223333:assumed-role/Ops/bob",
    "arn:aws:iam::444455556666:role/Dev",
    "arn:aws:iam::111122223333:user/people/Bob",
    "arn:aws:iam::111122223333:user/Bob",
    "arn:aws:iam::111122223333:user/Erin",
    "arn:aws:iam::111122223333:user/erin",
    "arn:aws:sts::111122223333:federated-user/Fred",
    "arn:aws:iam::111122223333:root",
];

/// Usernames as YAML; empty: none.
const USERNAMES: [&str; 11] = [
    "",
    "plain",
    "by-name",
    "12345",
    "''",
    "'{{SessionName}}'",
    "'x:{{SessionNameRaw}}'",
    "'{{Foo}}-{{AccountID}}'",
    "'k:{{AccessKeyID}}'",
    "system:anonymous",
    "system:node:{{EC2PrivateDNSName}}",
];

/// Groups as YAML; empty: none.
const GROUPS: [&str; 10] = [
    "",
    "[]",
    "team",
    "[team]",
    "[on, team]",
    "[team, 'b c', null]",
    "[system:masters]",
    "[system:unauthenticated, team]",
    "['of:{{SessionName}}', readers]",
    "['{{EC2PrivateDNSName}}']",
];

/// What drops a whole list of aws-auth.
const DAMAGE: [&str; 3] = [
    "- rolearn: x\n  username: {{SessionName}}\n",
    "\t- x\n",
    "- a: b: c\n",
];

const POLICIES: [&str; 4] = [
    "AmazonEKSViewPolicy",
    "AmazonEKSEditPolicy",
    "AmazonEKSAdminViewPolicy",
    "AmazonEKSClusterAdminPolicy",
];

const RBAC: &str = r#"
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "team", "namespace": "default"},
    "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "team", "namespace": "default"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "team"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "team"}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "reader"},
    "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}, {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "readers"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "readers"},
      {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "by-name"},
      {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "of:alice-example.com"}]}
]}
"#;

const REQUESTS: [Request; 6] = [
    request("list", "", "pods", Some("default")),
    request("list", "", "secrets", None),
    request("delete", "", "nodes", None),
    request("create", "apps", "deployments", Some("kube-system")),
    request("get", "", "/metrics", None),
    request("get", "example.com", "things", Some("default")),
];

const fn request(
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    namespace: Option<&'static str>,
) -> Request {
    Request {
        verb,
        group,
        resource,
        namespace,
        name: None,
    }
}

/// An access entry of one of the principals.
#[derive(Clone, Debug)]
struct Given {
    principal: usize,
    alive: bool,
    username: Option<&'static str>,
    groups: Vec<&'static str>,
    policies: Vec<(&'static str, Option<&'static str>)>,
}

/// A generated cluster, and who comes.
#[derive(Clone, Debug)]
struct Case {
    roles: String,
    users: String,
    whole: bool,
    entries: Vec<Given>,
    callers: Vec<usize>,
    asked: usize,
}

fn entry_text(
    key: &'static str,
    usernames: &'static [&'static str],
) -> impl Strategy<Value = String> {
    (select(&ARNS[..]), select(usernames), select(&GROUPS[..])).prop_map(
        move |(arn, username, groups)| {
            let field = |name: &str, value: &str| {
                if value.is_empty() {
                    String::new()
                } else {
                    format!("  {name}: {value}\n")
                }
            };
            format!(
                "- {key}: {arn}\n{}{}",
                field("username", username),
                field("groups", groups)
            )
        },
    )
}

/// A list of aws-auth, which is broken one time in twelve.
fn section(key: &'static str, usernames: &'static [&'static str]) -> impl Strategy<Value = String> {
    let entries = prop::collection::vec(entry_text(key, usernames), 0..7);
    (entries, 0..12_usize, select(&DAMAGE[..])).prop_map(|(entries, luck, damage)| {
        let broken = if luck == 0 { damage } else { "" };
        entries.concat() + broken
    })
}

fn given() -> impl Strategy<Value = Given> {
    let username = select(vec![
        None,
        Some("e:{{SessionNameRaw}}"),
        Some("by-name"),
        Some("e"),
    ]);
    let groups = subsequence(vec!["team", "readers"], 0..=2);
    let policy = (
        select(&POLICIES[..]),
        select(vec![None, Some("default"), Some("kube-*")]),
    );
    let policies = prop::collection::vec(policy, 0..3);
    (0..5_usize, 0..5_usize, username, groups, policies).prop_map(
        |(principal, luck, username, groups, policies)| Given {
            principal,
            alive: luck > 0,
            username,
            groups,
            policies,
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    // Of a user that stands there twice one is drawn by chance, and what fails for one would fail by chance.
    let (_, of_users) = USERNAMES.split_last().expect("there are some");
    (
        section("rolearn", &USERNAMES),
        section("userarn", of_users),
        any::<bool>(),
        prop::collection::vec(given(), 0..4),
        subsequence((0..10).collect::<Vec<usize>>(), 4),
        0..REQUESTS.len(),
    )
        .prop_map(|(roles, users, whole, entries, callers, asked)| Case {
            roles,
            users: users.replace("['{{EC2PrivateDNSName}}']", "[]"),
            whole,
            entries,
            callers,
            asked,
        })
}

/// Everything that is the same in all cases.
struct Stage {
    cluster: Cluster,
    eks: Eks,
    logins: Logins,
    rbac: Arc<Rbac>,
    instances: Arc<BTreeMap<String, String>>,
    principals: Vec<Principal>,
    iam: Iam,
    callers: Vec<Caller>,
}

fn world() -> (World, Vec<Principal>, Vec<Caller>) {
    let mut world = World::new(ARN).mode(Mode::ConfigMap);
    world.instances.insert(
        INSTANCE.to_owned(),
        "ip-10-0-0-1.eu-west-1.compute.internal".to_owned(),
    );
    let principals = vec![
        world.role(ACCOUNT, "/teams/", "Dev"),
        world.role(ACCOUNT, "/", "Ops"),
        world.role(ACCOUNT, "/", "Nodes"),
        world.user(ACCOUNT, "/people/", "Bob"),
        world.user(ACCOUNT, "/", "Erin"),
    ];
    world.user(ACCOUNT, "/", "Marker");
    let of =
        |world: &World, account: &str, role: &str, name: &str| world.session(account, role, name);
    world.role(ACCOUNT, "/", "Stranger");
    world.role(OTHER, "/", "Dev");
    let callers = vec![
        of(&world, ACCOUNT, "Dev", "alice@example.com"),
        of(&world, ACCOUNT, "Ops", "bob"),
        of(&world, ACCOUNT, "Nodes", INSTANCE),
        of(&world, ACCOUNT, "Nodes", "person"),
        of(&world, OTHER, "Dev", "x"),
        of(&world, ACCOUNT, "Stranger", "x"),
        caller(&principals[3].arn, &principals[3].id),
        caller(&principals[4].arn, &principals[4].id),
        caller(
            "arn:aws:sts::111122223333:federated-user/Fred",
            "111122223333:Fred",
        ),
        caller("arn:aws:iam::111122223333:root", "111122223333"),
    ];
    (world, principals, callers)
}

impl Stage {
    async fn set() -> Self {
        let cluster = Cluster::with_logins().await;
        cluster.seed(json!({})).await;
        cluster.kubectl_ok(&["apply", "-f", "-"], Some(RBAC));
        let client = cluster.admin();
        let objects = Objects {
            cluster_roles: all::<ClusterRole>(&client).await,
            cluster_role_bindings: all::<ClusterRoleBinding>(&client).await,
            roles: all::<Role>(&client).await,
            role_bindings: all::<RoleBinding>(&client).await,
        };
        let (world, principals, callers) = world();
        let instances = Arc::new(world.instances.clone());
        let eks = Eks::start(world).await;
        let logins = Logins::start(&cluster, &eks).await;
        Self {
            cluster,
            eks,
            logins,
            rbac: Arc::new(Rbac::new(&objects)),
            instances,
            iam: effective::listed(principals.iter()),
            principals,
            callers,
        }
    }

    /// Has all of it be so, and waits until the authenticator knows.
    async fn play(&self, number: usize, mode: Mode, case: &Case) -> Scene {
        let mut accounts = format!("- \"{}\"\n", marker_account(number));
        if case.whole {
            accounts.extend(["- ", OTHER, "\n- \"", ACCOUNT, "\"\n"]);
        }
        let data = json!({"mapRoles": case.roles, "mapUsers": case.users, "mapAccounts": accounts});
        self.cluster
            .patch_aws_auth("case", json!({ "data": data }))
            .await;
        let door = self.give(number, mode, case);
        let (here, gone) = (
            marker_account(number),
            marker_account(number.wrapping_sub(1)),
        );
        let entry = format!("entry-{number}");
        let marker = self.marker();
        eventually("the authenticator knows it", SOON, async || {
            let by_account = |account: String| async move {
                let arn = format!("arn:aws:iam::{account}:user/x");
                enters(&self.logins, &self.eks, &caller(&arn, "AIDAX"))
                    .await
                    .is_some()
            };
            let by_entry = enters(&self.logins, &self.eks, &marker)
                .await
                .map(|it| it.0);
            // A chain that is not replaced yet lets in those of this text or of the last.
            let seen = (
                by_account(here.clone()).await,
                by_account(gone.clone()).await,
                by_entry.as_deref() == Some(&entry),
            );
            let wanted = (mode != Mode::Api, false, mode != Mode::ConfigMap);
            let out = mode == Mode::ConfigMap
                && by_entry
                    .as_deref()
                    .is_some_and(|it| it.starts_with("entry-"));
            if seen == wanted && !out {
                Ok(())
            } else {
                Err((seen, wanted, by_entry))
            }
        })
        .await;
        let data: BTreeMap<String, String> = serde_json::from_value(data).unwrap();
        Scene {
            door: Arc::new(door),
            aws_auth: Arc::new(Document::parse(&data)),
            rbac: self.rbac.clone(),
            instances: self.instances.clone(),
        }
    }

    fn marker(&self) -> Caller {
        let arn = format!("arn:aws:iam::{ACCOUNT}:user/Marker");
        let id = self.eks.world().find(&arn).expect("it was made").id.clone();
        caller(&arn, &id)
    }

    /// The access entries, in force at once.
    fn give(&self, number: usize, mode: Mode, case: &Case) -> Door {
        let marker = self.marker();
        let mut world = self.eks.world();
        let now = world.now;
        world.force.mode = mode;
        world.force.entries.clear();
        world.force.policies.clear();
        for given in &case.entries {
            let principal = &self.principals[given.principal];
            let id = if given.alive {
                principal.id.clone()
            } else {
                "AROADEAD".to_owned()
            };
            let mut entry = Entry::new(&world.cluster, &principal.arn, "STANDARD", Some(id), now)
                .expect("the ARN of a principal");
            if let Some(username) = given.username {
                username.clone_into(&mut entry.username);
            }
            entry.groups = given.groups.iter().map(|&group| group.to_owned()).collect();
            for (policy, namespace) in &given.policies {
                let association = Association {
                    namespaces: namespace.map(|namespace| vec![namespace.to_owned()]),
                    associated: now,
                    modified: now,
                };
                let arn = format!("arn:aws:eks::aws:cluster-access-policy/{policy}");
                entry.policies.insert(arn, association);
            }
            world.standing_entry(entry);
        }
        let id = Some(marker.user_id);
        let entry = Entry::new(&world.cluster, &marker.arn, "STANDARD", id, now);
        let mut entry = entry.expect("the ARN of a user");
        entry.username = format!("entry-{number}");
        world.standing_entry(entry);
        Door::of(&world)
    }

    /// One caller, by the real door, by the model and by the operator: whether they got in, and what says so.
    async fn compare(
        &self,
        scene: &Scene,
        caller: &Caller,
        asked: &Request,
    ) -> (bool, &'static str) {
        let token = self.eks.token(caller);
        let real = self.logins.who(&token).await;
        let caller = power::Caller {
            arn: caller.arn.clone(),
            user_id: caller.user_id.clone(),
            access_key: access_key(&token),
        };
        let ours = scene.login(&caller);
        let by = effective::compare(scene, &self.iam, &caller, &real);
        let told = format!("{real:?} and {ours:?}");
        let user = match real {
            Ok(user) => user,
            Err(denied) if denied.is_unauthorized() => {
                assert!(ours.is_err(), "{told}");
                return (false, by);
            }
            Err(denied) => {
                // Only those who are not in system:authenticated may not ask who they are.
                let named = |name: &str| denied.message.contains(&format!("User \"{name}\""));
                let review = request(
                    "create",
                    "authentication.k8s.io",
                    "selfsubjectreviews",
                    None,
                );
                let matching = ours.iter().flatten().any(|identity| {
                    named(&identity.username) && !scene.power_of(identity).allows(&review)
                });
                assert!(matching, "{told}");
                return (true, by);
            }
        };
        let (username, groups) = identity(&user);
        let groups: BTreeSet<String> = groups.into_iter().collect();
        let matching = ours.iter().flatten();
        let matching: Vec<_> = matching
            .filter(|identity| identity.username == username && identity.groups == groups)
            .collect();
        assert!(!matching.is_empty(), "{told}");
        let allowed = self.logins.may(&token, &attributes(asked)).await;
        // Another login may draw another identity, but this token has drawn its own.
        let allowed = allowed.unwrap_or_else(|denied| panic!("{denied:?}: {told}"));
        for identity in matching {
            let power = scene.power_of(identity);
            assert_eq!(power.allows(asked), allowed, "{asked:?}: {told}");
        }
        (true, by)
    }
}

/// The access key id that a token is signed with.
fn access_key(token: &str) -> String {
    let url = URL_SAFE_NO_PAD.decode(token.replace("k8s-aws-v1.", ""));
    let url = String::from_utf8(url.unwrap()).unwrap();
    let (_, credential) = url.split_once("X-Amz-Credential=").unwrap();
    credential.split('%').next().unwrap().to_owned()
}

fn attributes(request: &Request) -> Value {
    let Request {
        verb,
        group,
        resource,
        namespace,
        ..
    } = request;
    if resource.starts_with('/') {
        return json!({"nonResourceAttributes": {"verb": verb, "path": resource}});
    }
    json!({"resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": namespace}})
}

/// An account that stands in `mapAccounts` of this case alone.
fn marker_account(number: usize) -> String {
    format!("9{:011}", number % 100_000_000_000)
}

#[tokio::test]
async fn logins_are_as_the_model_says() {
    let stage = Stage::set().await;
    let mut runner = TestRunner::deterministic();
    let cases = case();
    let (mut entered, mut refused) = (0, 0);
    let mut ways = BTreeSet::new();
    let started = Timestamp::now();
    for number in 0..CASES {
        let case = cases.new_tree(&mut runner).unwrap().current();
        let mode = [Mode::ConfigMap, Mode::ApiAndConfigMap, Mode::Api][number / RUN % 3];
        let scene = stage.play(number, mode, &case).await;
        let told = format!("case {number} in {mode:?}: {case:#?}");
        let shown = Shown(&told);
        let callers = (case.asked..).zip(&case.callers);
        let compared = callers.map(|(asked, &caller)| {
            let asked = &REQUESTS[asked % REQUESTS.len()];
            stage.compare(&scene, &stage.callers[caller], asked)
        });
        for (let_in, by) in futures::future::join_all(compared).await {
            *(if let_in { &mut entered } else { &mut refused }) += 1;
            ways.insert(format!("{by} in {mode:?}, in: {let_in}"));
        }
        drop(shown);
    }
    let took = started.until(Timestamp::now()).unwrap();
    assert!(
        entered > 200 && refused > 200,
        "{entered} got in, {refused} did not, in {took}"
    );
    // Everything that may say so has let somebody in, in each mode in which it counts, and in no other.
    for by in ["access entry", "aws-auth", "account"] {
        for mode in [Mode::ConfigMap, Mode::ApiAndConfigMap, Mode::Api] {
            let counts = match mode {
                Mode::ConfigMap => by != "access entry",
                Mode::ApiAndConfigMap => true,
                Mode::Api => by == "access entry",
            };
            let seen = ways.contains(&format!("{by} in {mode:?}, in: true"));
            assert_eq!(seen, counts, "{by} in {mode:?} of {ways:#?}");
        }
    }
    assert!(ways.contains("chance in ConfigMap, in: true"), "{ways:#?}");
}

/// Tells the case where a comparison fails.
struct Shown<'a>(&'a str);

impl Drop for Shown<'_> {
    #[expect(
        clippy::print_stderr,
        reason = "the test harness shows it with the failure"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}
