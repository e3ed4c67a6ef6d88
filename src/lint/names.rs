//! Usernames and groups: the same rules for entries of aws-auth and for mappings.

use super::code::Code;
use super::finding::LintFinding;
use super::name_checks::{
    blanks, cut, in_angle_brackets, is_meant_for_nodes, not_filled_in, placeholders, reserved,
};
use crate::effective::MASTERS;
use crate::principal::{Group, Placeholder, RESERVED_PREFIX, Username};
use crate::yaml::almost;

/// Groups that Kubernetes and EKS know by themselves. They need no binding that anyone makes.
pub(super) const WELL_KNOWN: [&str; 8] = [
    "system:masters",
    "system:nodes",
    "system:bootstrappers",
    "system:node-proxier",
    "system:authenticated",
    "system:unauthenticated",
    "system:monitoring",
    "eks:kube-proxy-windows",
];

/// What Kubernetes and EKS keep for themselves (EKS user guide, *Create access entries*).
const RESERVED: [&str; 5] = ["system:", "eks:", "aws:", "amazon:", "iam:"];

const NODE_USERNAME: &str = "system:node:";
const NODES: &str = "system:nodes";
const BOOTSTRAPPERS: &str = "system:bootstrappers";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallerKind {
    /// A role, whose sessions the caller names.
    Role,
    /// A role of IAM Identity Center, which names the sessions after its users.
    Sso,
    /// A user, who has no session.
    User,
    Unknown,
}

/// A name and where it is; `at` of the whole entry where it is not written.
pub(super) struct Name<'a, P> {
    pub(super) text: &'a str,
    pub(super) at: P,
}

/// What an entry or a mapping gives.
pub(super) struct EntryNames<'a, P> {
    pub(super) caller: CallerKind,
    pub(super) username: Option<Name<'a, P>>,
    pub(super) groups: Vec<Name<'a, P>>,
    /// Where the groups stand, or the entry itself.
    pub(super) at: P,
}

/// What usernames of nodes are made from. The first is for EC2, the second for Fargate and hybrid nodes.
const NODE_TEMPLATES: [&str; 2] = [
    "system:node:{{EC2PrivateDNSName}}",
    "system:node:{{SessionName}}",
];

pub(super) fn is_node_name(username: &str) -> bool {
    username.starts_with(NODE_USERNAME)
}

/// Whether a kubelet can have a username: `system:node:` and the name of its Node, from a template or written out.
fn is_kubelet(username: &str) -> bool {
    let is_label = |label: &str| {
        let is_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(is_byte)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    NODE_TEMPLATES.contains(&username)
        || username
            .strip_prefix(NODE_USERNAME)
            .is_some_and(|name| name.len() <= 253 && name.split('.').all(is_label))
}

/// The well-known group that a name is a slip of.
pub(super) fn misspelled(group: &str) -> Option<&'static str> {
    // Without its prefix; `nodes` may well be a group of someone's own.
    let bare = [
        "system:masters",
        "system:bootstrappers",
        "system:node-proxier",
    ];
    let bare = bare
        .into_iter()
        .find(|known| *known == format!("system:{group}"));
    let near = |known: &&'static str| {
        // A group of this prefix that Kubernetes does not have does nothing, so two slips are as good as one.
        almost(group, known)
            || group.starts_with("system:") && strsim::osa_distance(group, known) <= 2
    };
    bare.or_else(|| WELL_KNOWN.into_iter().find(near))
}

/// How to give a group that has the name of a ClusterRole of Kubernetes what that role allows. Bindings of the same name may exist:
/// Kubernetes has one for `cluster-admin`.
pub(super) fn role_as_group(group: &str) -> Option<String> {
    let bind = format!(
        "kubectl create clusterrolebinding {group}-group --clusterrole={group} --group={group}"
    );
    match group {
        "cluster-admin" => Some(format!(
            "write {MASTERS:?} for administrators, or bind it: {bind}"
        )),
        "admin" | "edit" | "view" => Some(format!("bind it: {bind}")),
        _ => None,
    }
}

/// The groups that one item joins by commas or spaces. Names of LDAP have commas, and other names may have spaces.
pub(super) fn joined(text: &str) -> Option<Vec<&str>> {
    let names = |is_between: fn(char) -> bool| -> Vec<&str> {
        let parts = text.split(is_between);
        parts.filter(|part| !part.is_empty()).collect()
    };
    let by_comma = names(|c| c == ',' || c.is_whitespace());
    if text.contains(',') && by_comma.len() > 1 && !text.contains('=') {
        return Some(by_comma);
    }
    let by_space = names(char::is_whitespace);
    let is_known = |name: &&str| WELL_KNOWN.contains(name);
    (by_space.len() > 1 && by_space.iter().any(is_known)).then_some(by_space)
}

impl<P: Clone> EntryNames<'_, P> {
    pub(super) fn check(&self) -> Vec<LintFinding<P>> {
        let mut findings = Vec::new();
        let mut find = |code, at: &P, title: String, label: String, fix: String| {
            findings.push(LintFinding {
                code,
                at: at.clone(),
                title,
                label,
                fix,
                edits: Vec::new(),
                proposed: Vec::new(),
            });
        };
        if let Some(username) = &self.username {
            self.username(username, &mut find);
        }
        for group in &self.groups {
            self.group(group, &mut find);
        }
        self.nodes(&mut find);
        findings
    }

    fn username(
        &self,
        name: &Name<'_, P>,
        find: &mut impl FnMut(Code, &P, String, String, String),
    ) {
        let Name { text, at } = name;
        if not_filled_in("username", text, at, find) || self.is_wrong_node(text) {
            return;
        }
        cut("username", text, at, find);
        blanks("username", text, at, find);
        placeholders("username", text, at, find);
        let placeholders = Username::parse(text)
            .map(|name| name.placeholders())
            .unwrap_or_default();
        self.sessions("username", &placeholders, at, text, find);
        let chosen = ["{{SessionName}}", "{{SessionNameRaw}}"];
        if self.caller == CallerKind::Role && chosen.iter().any(|chosen| text.starts_with(chosen)) {
            find(
                Code::CallerNamesItself,
                at,
                format!("username {text:?} that starts with a name chosen by the caller"),
                "anyone who can assume the role can choose another user's name, such as `jane`, as the session name"
                    .to_owned(),
                format!(
                    "add a fixed prefix: \"role-name:{text}\", and change the bindings that name such users"
                ),
            );
        }
        let is_administrator = self.groups.iter().any(|group| group.text == MASTERS);
        let node = (self.caller != CallerKind::User || is_administrator)
            && (is_node_name(text) || is_meant_for_nodes(text));
        if text.starts_with(RESERVED_PREFIX)
            || (!node && RESERVED.iter().any(|prefix| text.starts_with(prefix)))
        {
            reserved("username", text, at, find);
        }
    }

    fn group(&self, name: &Name<'_, P>, find: &mut impl FnMut(Code, &P, String, String, String)) {
        let Name { text, at } = name;
        if text.is_empty() {
            return;
        }
        if WELL_KNOWN.contains(text) {
            return;
        }
        if not_filled_in("group", text, at, find) {
            return;
        }
        if text.contains(" - ") {
            let items: Vec<String> = text
                .split(" - ")
                .map(|item| format!("- {}", item.trim()))
                .collect();
            find(
                Code::OneLineList,
                at,
                format!("one group {text:?} instead of several"),
                format!("the authenticator sees the single group {text:?}"),
                format!("write each item on its own line: {}", items.join(", then ")),
            );
            return;
        }
        if let Some(names) = joined(text) {
            let items: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            find(
                Code::OneLineList,
                at,
                format!("one group {text:?} instead of several"),
                format!("the authenticator sees the single group {text:?}"),
                format!("write each group as its own item: [{}]", items.join(", ")),
            );
            return;
        }
        if let Some(known) = misspelled(text) {
            find(
                Code::AlmostWellKnown,
                at,
                format!("misspelled group {text:?}"),
                format!("the authenticator sees the group {text:?}, which grants nothing"),
                format!("write {known:?}, if that is the intended group"),
            );
            return;
        }
        if let Some(fix) = role_as_group(text) {
            find(
                Code::RoleAsGroup,
                at,
                format!("group {text:?}, which is the name of a ClusterRole"),
                "grants nothing, unless a binding names this group".to_owned(),
                fix,
            );
            return;
        }
        cut("group", text, at, find);
        blanks("group", text, at, find);
        placeholders("group", text, at, find);
        let placeholders = Group::parse(text)
            .map(|name| name.placeholders())
            .unwrap_or_default();
        self.sessions("group", &placeholders, at, text, find);
        if text.starts_with("system:")
            && !text.starts_with("system:serviceaccounts")
            && !text.starts_with("system:bootstrappers:")
        {
            find(
                Code::UnknownSystemGroup,
                at,
                format!("group {text:?}, which Kubernetes does not have"),
                "grants nothing, unless a binding names it; an access entry can't have it"
                    .to_owned(),
                format!(
                    "bind a group of your own: `kubectl create clusterrolebinding NAME --clusterrole=view --group={}`, and write that \
                        group here",
                    text.trim_start_matches("system:")
                ),
            );
            return;
        }
        let prefixes = RESERVED.iter().chain([&RESERVED_PREFIX]);
        if prefixes.into_iter().any(|prefix| text.starts_with(prefix))
            && !text.starts_with("system:serviceaccounts")
        {
            reserved("group", text, at, find);
        }
    }

    /// Whether the entry is for nodes, and its username for none: that is reported whole.
    fn is_wrong_node(&self, username: &str) -> bool {
        let has = |wanted: &str| self.groups.iter().any(|group| group.text == wanted);
        let is_for_nodes = is_meant_for_nodes(username) || has(NODES);
        is_for_nodes && !is_kubelet(username) && !has(MASTERS) && self.caller != CallerKind::User
    }

    /// Placeholders that are filled by the session, or by its keys.
    fn sessions(
        &self,
        what: &str,
        placeholders: &[Placeholder],
        at: &P,
        text: &str,
        find: &mut impl FnMut(Code, &P, String, String, String),
    ) {
        let of_session = |placeholder: &&Placeholder| {
            matches!(
                placeholder,
                Placeholder::SessionName
                    | Placeholder::SessionNameRaw
                    | Placeholder::Ec2PrivateDnsName
            )
        };
        if self.caller == CallerKind::User
            && let Some(found) = placeholders.iter().find(of_session)
        {
            let (label, fix) = if *found == Placeholder::Ec2PrivateDnsName {
                (
                    "the login fails".to_owned(),
                    "nodes sign in with a role: map that role".to_owned(),
                )
            } else {
                let rendered = text
                    .replace("{{SessionName}}", "")
                    .replace("{{SessionNameRaw}}", "");
                (
                    format!("the {what} is {rendered:?} for every such user"),
                    "write the name itself".to_owned(),
                )
            };
            find(
                Code::SessionOfUser,
                at,
                format!("session placeholder in the {what} {text:?} of an IAM user"),
                label,
                fix,
            );
        }
        if placeholders.contains(&Placeholder::AccessKeyId) {
            find(
                Code::AccessKeyId,
                at,
                format!("access key in the {what} {text:?}"),
                "it changes with every access key".to_owned(),
                "use {{SessionName}} after a fixed prefix, or a fixed name".to_owned(),
            );
        }
    }

    fn nodes(&self, find: &mut impl FnMut(Code, &P, String, String, String)) {
        let has = |wanted: &str| self.groups.iter().any(|group| group.text == wanted);
        let username = self.username.as_ref();
        let named = self.caller != CallerKind::User
            && username.is_some_and(|name| is_meant_for_nodes(name.text));
        if username.is_some_and(|name| in_angle_brackets(name.text).is_some()) {
            return;
        }
        // A slip of the group is reported as such.
        let slip = |wanted: &str| {
            let mut groups = self.groups.iter();
            groups.any(|group| {
                misspelled(group.text) == Some(wanted)
                    || joined(group.text).is_some_and(|names| names.contains(&wanted))
            })
        };
        let missing: Vec<&str> = [BOOTSTRAPPERS, NODES]
            .into_iter()
            .filter(|group| !has(group) && !slip(group))
            .collect();
        let is_person = username.is_some_and(|name| is_meant_for_nodes(name.text)) && has(MASTERS);
        if let Some(name) = username.filter(|_| is_person) {
            let label = if name.text.contains("{{EC2PrivateDNSName}}") {
                "only EC2 instances can log in"
            } else {
                "audit logs show the caller as a node"
            };
            find(
                Code::PersonAsNode,
                &name.at,
                format!("administrator with the username of a node, {:?}", name.text),
                label.to_owned(),
                "write another username, such as username: \"admin:{{SessionName}}\", and keep the groups; or remove \
                    system:masters, if these are nodes"
                    .to_owned(),
            );
            return;
        }
        if named && !missing.is_empty() {
            find(
                Code::NodeGroups,
                &self.at,
                format!("node entry without {}", missing.join(" and ")),
                format!(
                    "the authenticator sees a node without {}",
                    missing.join(" and ")
                ),
                if has(NODES) || has(BOOTSTRAPPERS) || self.groups.is_empty() {
                    format!("add {} to its groups", missing.join(" and "))
                } else {
                    format!(
                        "if these are nodes, add {} to the groups; if they are people, write another username, such as \
                            username: \"dev:{{{{SessionName}}}}\"",
                        missing.join(" and ")
                    )
                },
            );
        }
        let is_fargate = has("system:node-proxier") && !has("eks:kube-proxy-windows");
        if let Some(name) = username.filter(|name| name.text == NODE_TEMPLATES[0] && is_fargate) {
            find(
                Code::FargateUsername,
                &name.at,
                "system:node-proxier, a group of Fargate, with the username of EC2 nodes"
                    .to_owned(),
                "no Pod can start on Fargate with this role".to_owned(),
                format!(
                    "write username: {:?}, if the role is for Fargate; remove system:node-proxier, if it is for EC2 nodes",
                    NODE_TEMPLATES[1]
                ),
            );
        }
        let is_right = username.is_some_and(|name| is_kubelet(name.text));
        if (named || has(NODES)) && !is_right && self.caller != CallerKind::User {
            let at = username.map_or(&self.at, |name| &name.at);
            let title = match username.map(|name| name.text) {
                None => "nodes without a username".to_owned(),
                Some(NODE_USERNAME) => {
                    format!(
                        "username {NODE_USERNAME:?} without its placeholder {{{{EC2PrivateDNSName}}}}"
                    )
                }
                Some(text) => format!("username {text:?}, which no kubelet has"),
            };
            let or = if named {
                ""
            } else {
                ", or remove system:nodes if these are not nodes"
            };
            find(
                Code::NodeUsername,
                at,
                title,
                "the API server accepts no kubelet under this name".to_owned(),
                format!(
                    "write username: {:?}, for Fargate and hybrid nodes {:?}{or}",
                    NODE_TEMPLATES[0], NODE_TEMPLATES[1]
                ),
            );
        }
    }
}
