//! Two hundred mappings as a cluster has them that moves on, and those who come in by them.

use std::collections::BTreeMap;
use std::ops::Range;

use identity_mapper::observed::Mode as Declared;
use serde_json::{Value, json};

use crate::support::eks::{Entry, NodeKind, Principal, World};
use crate::support::power::Caller;

/// The cluster's account.
pub(crate) const ACCOUNT: &str = "111122223333";
/// Another one, in which the operator can't look.
const ELSEWHERE: &str = "444455556666";

/// What becomes of a mapping on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// From aws-auth to an access entry, and out of aws-auth.
    Moves,
    /// To an access entry, and in aws-auth for good: nodes.
    Doubles,
    /// It can't be an access entry.
    Stays,
    /// It can't be in aws-auth.
    EntryOnly,
}

/// A mapping, and who comes in by it.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The mapping's name.
    pub(crate) name: String,
    /// Its spec.
    pub(crate) spec: Value,
    /// The principal.
    pub(crate) principal: Principal,
    /// What becomes of it.
    pub(crate) course: Course,
    /// Whether its power comes from system:masters.
    pub(crate) masters: bool,
    /// Who comes.
    pub(crate) caller: Caller,
}

/// Everyone.
pub(crate) struct Cast {
    /// Those with mappings.
    pub(crate) parts: Vec<Part>,
    /// Those whom only foreign entries of aws-auth let in, by name, and whether EKS makes them an access entry of its own.
    pub(crate) foreign: Vec<(&'static str, Caller, bool)>,
    /// `mapRoles` before the operator comes.
    pub(crate) roles: String,
    /// `mapUsers` and `mapAccounts` before the operator comes.
    pub(crate) users: String,
    /// Private DNS names of nodes by the instance ids that their sessions are named after.
    pub(crate) instances: BTreeMap<String, String>,
}

/// Collects the cast.
struct Casting<'a> {
    world: &'a mut World,
    cast: Cast,
}

fn instance(number: usize) -> String {
    format!("i-{number:017x}")
}

fn dns_name(number: usize) -> String {
    format!(
        "ip-10-0-{}-{}.eu-west-1.compute.internal",
        number / 250,
        number % 250
    )
}

impl Casting<'_> {
    fn part(&mut self, principal: Principal, session: &str, mut spec: Value, course: Course) {
        let caller = if principal.arn.contains(":user/") {
            Caller::user(&principal.arn, &principal.id)
        } else {
            Caller::session(&principal.arn, &principal.id, session)
        };
        let number = self.cast.parts.len();
        spec["principal"] = json!({"arn": principal.arn});
        let masters = spec["groups"]
            .as_array()
            .is_some_and(|groups| groups.contains(&json!("system:masters")));
        self.cast.parts.push(Part {
            name: format!("part-{number:03}"),
            spec,
            principal,
            course,
            masters,
            caller,
        });
    }

    /// A principal of one of the sorts that there are: a role with and without path, one of a permission set, one of another
    /// account, a user with a path.
    fn principal(&mut self, stem: &str, number: usize) -> Principal {
        let name = format!("{stem}-{number}");
        let sso = "/aws-reserved/sso.amazonaws.com/eu-west-1/";
        match number % 5 {
            0 => self.world.role(ACCOUNT, "/teams/", &name),
            1 => {
                let name = format!("AWSReservedSSO_{name}_{number:016x}");
                self.world.role(ACCOUNT, sso, &name)
            }
            2 => self.world.user(ACCOUNT, "/people/", &name),
            3 => self.world.role(ELSEWHERE, "/", &name),
            _ => self.world.role(ACCOUNT, "/", &name),
        }
    }

    fn people(&mut self, count: usize) {
        for number in 0..count {
            let principal = self.principal("Person", number);
            let mut spec = json!({"groups": [team(number), team(number * 3 + 1)]});
            if number % 3 == 0 {
                spec["username"] = if principal.arn.contains(":user/") {
                    json!(format!("person-{number}"))
                } else {
                    json!(format!("person-{number}:{{{{SessionName}}}}"))
                };
            }
            if number % 7 == 0 {
                // Bound by name alone, see `bindings`.
                spec["username"] = json!("by-name");
                spec["groups"] = json!([]);
            }
            self.part(principal, "alice", spec, Course::Moves);
        }
    }

    fn administrators(&mut self, count: usize) {
        for number in 0..count {
            let principal = self.principal("Admin", number);
            let groups = match number % 4 {
                0 => json!(["system:masters", team(number)]),
                1 => json!(["platform-admins"]),
                _ => json!(["system:masters"]),
            };
            self.part(principal, "root", json!({"groups": groups}), Course::Moves);
        }
    }

    fn nodes(&mut self, numbers: Range<usize>) {
        for number in numbers {
            let role = self.world.role(ACCOUNT, "/", &format!("nodes-{number}"));
            let by_dns = instance(number);
            self.cast.instances.insert(by_dns.clone(), dns_name(number));
            let by_session = format!("node-{number}");
            let (type_, session, course) = match number % 10 {
                0..=4 => ("EC2Linux", by_dns, Course::Doubles),
                5 | 6 => ("EC2Windows", by_dns, Course::Doubles),
                7..=9 if number < 10 => {
                    let type_ = ["HybridLinux", "EC2", "HyperPodLinux"][number - 7];
                    (type_, by_session, Course::EntryOnly)
                }
                _ => ("FargateLinux", by_session, Course::Doubles),
            };
            self.part(role, &session, json!({"type": type_}), course);
        }
    }

    /// What can't be expressed as an access entry.
    fn stuck(&mut self, count: usize) {
        for number in 0..count {
            let role = self.world.role(ACCOUNT, "/", &format!("Stuck-{number}"));
            let spec = if number % 2 == 0 {
                json!({"groups": ["system:monitoring", team(number)]})
            } else {
                json!({"username": format!("stuck-{number}-{{{{SessionName}}}}"), "groups": [team(number)]})
            };
            self.part(role, "carol", spec, Course::Stays);
        }
    }

    /// Mappings that say what foreign entries say: those are adopted.
    fn adopted(&mut self, count: usize) {
        for number in 0..count {
            let role = self.world.role(ACCOUNT, "/", &format!("Known-{number}"));
            let (username, groups) = (format!("known-{number}"), [team(number)]);
            let entry = json!({"rolearn": role.arn, "username": username, "groups": groups});
            let text = format!("- {entry}\n");
            self.cast.roles.push_str(&text);
            let spec = json!({"username": username, "groups": groups});
            self.part(role, "dora", spec, Course::Moves);
        }
    }

    /// Entries of aws-auth that no mapping speaks of.
    fn strangers(&mut self) {
        let node_groups = [
            (
                "eks-linux",
                NodeKind::Linux,
                "system:node:{{EC2PrivateDNSName}}",
                "",
            ),
            (
                "eks-windows",
                NodeKind::Windows,
                "system:node:{{EC2PrivateDNSName}}",
                ", eks:kube-proxy-windows",
            ),
            (
                "eks-fargate",
                NodeKind::Fargate,
                "system:node:{{SessionName}}",
                ", system:node-proxier",
            ),
        ];
        for (number, (name, kind, username, more)) in (900..).zip(node_groups) {
            let role = self.world.role(ACCOUNT, "/", name);
            let session = instance(number);
            self.cast
                .instances
                .insert(session.clone(), dns_name(number));
            self.world
                .cluster
                .node_groups
                .insert(role.arn.clone(), kind);
            let text = format!(
                "- rolearn: {}\n  username: {username}\n  groups: [system:bootstrappers, system:nodes{more}]\n",
                role.arn
            );
            self.cast.roles.push_str(&text);
            let caller = Caller::session(&role.arn, &role.id, &session);
            self.cast.foreign.push((name, caller, true));
        }
        let own = self.world.role(ACCOUNT, "/", "own-nodes");
        self.cast.instances.insert(instance(910), dns_name(910));
        let caller = Caller::session(&own.arn, &own.id, &instance(910));
        self.cast.foreign.push(("own-nodes", caller, false));
        let ops = self.world.role(ACCOUNT, "/", "Ops");
        let caller = Caller::session(&ops.arn, &ops.id, "ops");
        self.cast.foreign.push(("ops", caller, false));
        let dead = self.world.role(ACCOUNT, "/dead/", "Dead");
        let text = format!(
            "# by hand\n- rolearn: {}\n  username: system:node:{{{{EC2PrivateDNSName}}}}\n  groups: [system:bootstrappers, system:nodes]\n\
             - {{rolearn: '{}', username: ops, groups: [system:masters]}}   # do not touch\n\
             - rolearn: {}\n  username: dead\n  groups: [team-1]\n",
            own.arn, ops.arn, dead.arn
        );
        self.cast.roles.push_str(&text);
        let user = self.world.user(ACCOUNT, "/", "erin");
        let text = format!(
            "- userarn: {}\n  username: erin\n  groups: [{}]\n",
            user.arn,
            team(1)
        );
        self.cast.users.push_str(&text);
        let caller = Caller::user(&user.arn, &user.id);
        self.cast.foreign.push(("erin", caller, false));
        let creator = self.world.role(ACCOUNT, "/", "Creator").arn;
        self.world.cluster.creator = Some(creator);
    }
}

/// One of ten teams.
fn team(number: usize) -> String {
    format!("team-{}", number % 10)
}

impl<'a> Casting<'a> {
    fn new(world: &'a mut World) -> Self {
        let cast = Cast {
            parts: Vec::new(),
            foreign: Vec::new(),
            roles: String::new(),
            users: String::new(),
            instances: BTreeMap::new(),
        };
        Self { world, cast }
    }
}

/// Two hundred mappings with their principals, and strangers.
pub(crate) fn cast(world: &mut World) -> Cast {
    let mut casting = Casting::new(world);
    casting.people(100);
    casting.administrators(40);
    casting.nodes(0..40);
    casting.stuck(8);
    casting.strangers();
    casting.adopted(12);
    assert_eq!(casting.cast.parts.len(), 200);
    casting.cast
}

/// Two hundred who stand in aws-auth and can all have an access entry, and strangers; no mapping speaks of anyone yet.
pub(crate) fn migrants(world: &mut World) -> Cast {
    let mut casting = Casting::new(world);
    casting.people(118);
    casting.administrators(40);
    casting.nodes(10..40);
    casting.strangers();
    casting.adopted(12);
    let cast = &mut casting.cast;
    assert_eq!(cast.parts.len(), 200);
    for part in &cast.parts {
        let (users, text) = part.as_text();
        // Some stand there already.
        if !cast.roles.contains(&part.principal.arn) {
            let section = if users {
                &mut cast.users
            } else {
                &mut cast.roles
            };
            section.push_str(&text);
        }
    }
    casting.cast
}

/// Roles and bindings of the teams, of the administrators by a group, and of the one who is known by name.
pub(crate) fn bindings() -> Value {
    let group = "rbac.authorization.k8s.io";
    let mut items = Vec::new();
    let mut bind = |name: &str, role: &str, kind: &str, subject: &str| {
        items.push(json!({
            "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": group, "kind": kind, "name": subject}],
        }));
    };
    bind(
        "platform-admins",
        "cluster-admin",
        "Group",
        "platform-admins",
    );
    bind("by-name", "team-0", "User", "by-name");
    bind("monitoring", "team-1", "Group", "system:monitoring");
    for number in 0..10 {
        bind(&team(number), &team(number), "Group", &team(number));
    }
    let resources = [
        "pods",
        "secrets",
        "configmaps",
        "services",
        "events",
        "endpoints",
        "nodes",
        "namespaces",
        "limitranges",
        "podtemplates",
    ];
    for (number, resource) in resources.iter().enumerate() {
        items.push(json!({
            "apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": {"name": team(number)},
            "rules": [{"apiGroups": [""], "resources": [resource], "verbs": ["get", "list", "delete"]}],
        }));
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// Whether a mode has access entries of the cast, and aws-auth besides.
pub(crate) fn in_effect(course: Course, mode: Declared) -> bool {
    match mode {
        Declared::ConfigMap => course != Course::EntryOnly,
        Declared::ApiAndConfigMap => true,
        Declared::Api => course != Course::Stays,
    }
}

impl Part {
    /// The entry as somebody wrote it into aws-auth by hand, and whether that is among the users.
    fn as_text(&self) -> (bool, String) {
        let principal = Principal::clone(&self.principal);
        let arn = identity_mapper::principal::Principal::parse(&principal.arn).unwrap();
        let nodes = ["system:bootstrappers", "system:nodes"];
        let by_dns = "system:node:{{EC2PrivateDNSName}}";
        let by_session = "system:node:{{SessionName}}";
        let (username, groups) = match self.spec["type"].as_str() {
            Some("EC2Linux") => (json!(by_dns), json!(nodes)),
            Some("EC2Windows") => (
                json!(by_dns),
                json!([nodes[0], nodes[1], "eks:kube-proxy-windows"]),
            ),
            Some("FargateLinux") => (
                json!(by_session),
                json!([nodes[0], nodes[1], "system:node-proxier"]),
            ),
            _ => {
                let username = self.spec.get("username").cloned();
                let username = username.unwrap_or_else(|| json!(arn.default_username()));
                (username, self.spec["groups"].clone())
            }
        };
        let user = principal.arn.contains(":user/");
        let key = if user { "userarn" } else { "rolearn" };
        let entry = json!({key: arn.aws_auth_arn(), "username": username, "groups": groups});
        (user, format!("- {entry}\n"))
    }

    /// Whether the entry is as it is to be in the end.
    pub(crate) fn is_arrived(&self, entry: &Entry) -> bool {
        let policies: Vec<&str> = entry
            .policies
            .keys()
            .filter_map(|policy| policy.rsplit('/').next())
            .collect();
        let administers = policies == ["AmazonEKSClusterAdminPolicy"];
        let bridged = entry
            .groups
            .iter()
            .any(|group| group.starts_with("identity-mapper:"));
        administers == self.masters && !bridged
    }
}
