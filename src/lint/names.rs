//! Usernames and groups: the same rules for entries of aws-auth and for mappings.

use super::code::Code;
use super::finding::LintFinding;
use super::text::almost;
use crate::effective::MASTERS;
use crate::principal::{Group, IdentityError, Placeholder, RESERVED_PREFIX, Username};

/// Groups that Kubernetes and EKS know by themselves. They need no binding that anyone makes.
pub(super) const WELL_KNOWN: [&str; 6] = [
    "system:masters",
    "system:nodes",
    "system:bootstrappers",
    "system:node-proxier",
    "system:authenticated",
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

pub(super) fn is_node_name(username: &str) -> bool {
    username.starts_with(NODE_USERNAME)
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
        let node = is_node_name(text);
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
        if let Some(known) = WELL_KNOWN.iter().find(|known| almost(text, known)) {
            find(
                Code::AlmostWellKnown,
                at,
                format!("misspelled group {text:?}"),
                format!("the authenticator sees the group {text:?}, which grants nothing"),
                format!("write {known:?}, if that is the intended group"),
            );
            return;
        }
        blanks("group", text, at, find);
        placeholders("group", text, at, find);
        let placeholders = Group::parse(text)
            .map(|name| name.placeholders())
            .unwrap_or_default();
        self.sessions("group", &placeholders, at, text, find);
        let prefixes = RESERVED.iter().chain([&RESERVED_PREFIX]);
        if prefixes.into_iter().any(|prefix| text.starts_with(prefix))
            && !text.starts_with("system:serviceaccounts")
        {
            reserved("group", text, at, find);
        }
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
        let named = username.is_some_and(|name| is_node_name(name.text));
        // A slip of the group is reported as such.
        let slip = |wanted: &str| self.groups.iter().any(|group| almost(group.text, wanted));
        let missing: Vec<&str> = [BOOTSTRAPPERS, NODES]
            .into_iter()
            .filter(|group| !has(group) && !slip(group))
            .collect();
        if let Some(name) = username.filter(|_| named && has(MASTERS)) {
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
                format!("add {} to its groups", missing.join(" and ")),
            );
        }
        if !named && has(NODES) {
            let (at, found) = match username {
                Some(name) => (&name.at, format!("{:?}", name.text)),
                None => (&self.at, "\"\"".to_owned()),
            };
            find(
                Code::NodeUsername,
                at,
                format!("groups of nodes with the username {found}"),
                "the API server accepts no kubelet under this name".to_owned(),
                "write username: \"system:node:{{EC2PrivateDNSName}}\" (for Fargate \"system:node:{{SessionName}}\"), or remove \
                    system:nodes"
                    .to_owned(),
            );
        }
    }
}

fn blanks<P>(
    what: &str,
    text: &str,
    at: &P,
    find: &mut impl FnMut(Code, &P, String, String, String),
) {
    if text.trim() != text && !text.trim().is_empty() {
        find(
            Code::BlankInName,
            at,
            format!("whitespace around the {what} {text:?}"),
            format!("the authenticator sees the {what} {text:?}"),
            format!("write {:?}", text.trim()),
        );
    }
}

fn placeholders<P>(
    what: &str,
    text: &str,
    at: &P,
    find: &mut impl FnMut(Code, &P, String, String, String),
) {
    if let Err(IdentityError::UnknownPlaceholder { placeholder, .. }) = Username::parse(text) {
        let known = [
            "AccountID",
            "SessionName",
            "SessionNameRaw",
            "AccessKeyID",
            "EC2PrivateDNSName",
        ];
        let meant = known.iter().find(|known| almost(&placeholder, known));
        let fix = match meant {
            Some(meant) => format!("write {{{{{meant}}}}}"),
            None => "write the name itself, or one of {{AccountID}}, {{SessionName}}, {{SessionNameRaw}} and \
                {{EC2PrivateDNSName}}"
                .to_owned(),
        };
        find(
            Code::UnknownPlaceholder,
            at,
            format!("unknown placeholder {placeholder:?} in the {what} {text:?}"),
            format!("the authenticator sees the {what} {text:?}, braces included"),
            fix,
        );
    }
}

fn reserved<P>(
    what: &str,
    text: &str,
    at: &P,
    find: &mut impl FnMut(Code, &P, String, String, String),
) {
    let prefix = text.split_inclusive(':').next().unwrap_or(text);
    find(
        Code::ReservedName,
        at,
        format!("reserved prefix {prefix:?} in the {what} {text:?}"),
        if text.starts_with(RESERVED_PREFIX) {
            "the name is reserved for handovers, and the operator refuses a mapping with it"
                .to_owned()
        } else {
            "it takes effect in aws-auth, but an access entry can't have it".to_owned()
        },
        format!("choose a {what} without this prefix, and bind that one"),
    );
}
