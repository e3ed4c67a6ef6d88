//! The codes: what lint can find. Each has a heading in `docs/lint.md`.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Probably not what is meant.
    Warning,
    /// Something does not take effect, or is refused.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What is said of a code wherever it is found.
struct Row {
    id: &'static str,
    severity: Severity,
    title: &'static str,
    why: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $severity:ident, $title:literal, $why:literal;)*) => {
        /// A kind of finding. Codes are stable: they are never given another meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All codes, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        id: $id,
                        severity: Severity::$severity,
                        title: $title,
                        why: $why,
                    },)*
                }
            }
        }
    };
}

codes! {
    /// A key of aws-auth is no YAML.
    BrokenText = "IM001", Error, "a key of aws-auth is no YAML",
        "the authenticator drops the whole key at the first mistake: everyone in it is locked out, nodes included";
    /// A value begins with `{{` and has no quotes.
    UnquotedTemplate = "IM002", Error, "a template without quotes",
        "`{` opens a mapping in YAML, so the whole key can't be read and everyone in it is locked out, nodes included";
    /// A tab where YAML wants spaces.
    Tab = "IM003", Error, "a tab in the indentation",
        "YAML forbids tabs in indentation, so the whole key can't be read and everyone in it is locked out";
    /// What `kubectl describe` prints stands where YAML is expected.
    DescribeOutput = "IM004", Error, "the output of `kubectl describe` in place of YAML",
        "`kubectl describe` prints for people and can't be applied: its rulers are no YAML, so the key can't be read";
    /// A key of aws-auth is not the list that it has to be.
    NoList = "IM005", Error, "a key of aws-auth is no list",
        "the authenticator reads a list of entries and drops anything else whole";
    /// A line is indented otherwise than the one that it belongs to.
    Indentation = "IM006", Error, "a line is indented otherwise than its neighbours",
        "indentation says what belongs together; where it doesn't fit, the whole key can't be read and everyone in it is locked out";
    /// An entry that the authenticator drops.
    EntryDropped = "IM007", Error, "an entry that is dropped",
        "the authenticator leaves the entry out without a word: who relies on it is not let in";
    /// A value of the wrong type.
    ValueEmptied = "IM008", Error, "a value of the wrong type",
        "the authenticator drops the value and keeps the rest of the entry: who is let in has another identity than is written";
    /// A word or number that YAML 1.1 does not take for text.
    Yaml11Word = "IM009", Error, "a word that YAML 1.1 does not take for text",
        "go-yaml reads YAML 1.1, in which yes, no, on, off, y, n, ~ and numbers such as 1e3 are no text; the value is dropped or refused";
    /// A key of `data` that nobody reads.
    UnreadKey = "IM010", Warning, "a key that nobody reads",
        "only mapRoles, mapUsers and mapAccounts are read, spelt exactly so: what stands under another key takes no effect";
    /// A field that is given twice.
    RepeatedField = "IM011", Warning, "a field that is given twice",
        "the last one counts and the earlier ones take no effect";
    /// A field that nobody reads.
    UnknownField = "IM012", Warning, "a field that nobody reads",
        "an entry has rolearn or userarn, username and groups: anything else is passed over without a word";
    /// Text behind the first YAML document.
    SecondDocument = "IM013", Error, "text behind the first YAML document",
        "the authenticator reads the first document of a key and passes over the rest: those entries take no effect";
    /// A file that is no manifest.
    NoManifest = "IM014", Error, "no manifest that kubectl would take",
        "the API server takes only what it can read: nothing of it takes effect";

    /// A `rolearn` with a path.
    RolePath = "IM020", Error, "the ARN of a role with its path",
        "STS tells the authenticator a role's name without its path, and the two are compared as they stand: the entry never matches";
    /// An ARN with blanks around it.
    BlankInArn = "IM021", Error, "a blank in an ARN",
        "ARNs are compared character by character: with a blank in it the entry never matches";
    /// An ARN with `*` or `?`.
    Wildcard = "IM022", Error, "a wildcard in an ARN",
        "the authenticator knows no wildcards in aws-auth: the ARN is compared as it stands and never matches";
    /// The ARN of a session.
    SessionArn = "IM023", Error, "the ARN of a session",
        "the authenticator makes a session into its role before it looks it up: an entry for a session never matches";
    /// An ARN that is none of a role or user.
    NotAPrincipal = "IM024", Error, "no ARN of a role or user",
        "only who STS names can sign in: roles and users; the entry never matches";
    /// The root user.
    RootUser = "IM025", Warning, "the root user of an account",
        "it matches the root user alone, who should not work with keys, and not the users and roles of the account";
    /// An `sso` entry.
    SsoEntry = "IM026", Error, "an `sso` entry",
        "it needs the feature gate SSORoleMatch of the authenticator, which is off on EKS: the entry never matches";
    /// A role under `mapUsers` or a user under `mapRoles`.
    WrongList = "IM027", Warning, "a principal in the other list",
        "the authenticator finds it there, but eksctl, Terraform modules and people look for it in its own list and write it a second time";
    /// An account under `mapAccounts`.
    WholeAccount = "IM028", Note, "a whole account",
        "every role and user of the account, also those made later, is authenticated under its own ARN, and holds what `system:authenticated` holds";
    /// An account id that is none.
    BadAccount = "IM029", Error, "no account id",
        "an account id has exactly twelve digits: anything else never matches";

    /// Two entries that say the same.
    RepeatedEntry = "IM030", Warning, "an entry that is given twice",
        "the last one counts; whoever edits the other one will wonder why nothing happens";
    /// An entry behind or beside another of the same principal that wins.
    ShadowedEntry = "IM031", Error, "an entry that another one overrides",
        "of several entries for a principal the authenticator takes one and never joins their groups: the last of mapRoles, else the last of mapUsers";
    /// Entries of `mapUsers` whose ARNs differ in case only.
    CaseVariant = "IM032", Error, "entries whose ARNs differ in case only",
        "mapUsers tells ARNs apart by case but matches them without: which entry wins is random, anew at each login";

    /// Entries of more than one partition.
    OtherPartition = "IM033", Error, "an entry of another partition",
        "a cluster is in one partition and accepts callers of that one only: entries of another never match";

    /// An entry without groups.
    NoGroups = "IM040", Note, "an entry without groups",
        "the caller is let in and may do nothing, unless a binding names the username itself";
    /// A group that is almost a well-known one.
    AlmostWellKnown = "IM041", Error, "a group that is almost a well-known one",
        "groups are compared character by character: this one is bound to nothing";
    /// A node's entry without a group that nodes need.
    NodeGroups = "IM042", Error, "a node entry without a group that nodes need",
        "without system:nodes the kubelet may neither register nor read its Pods; without system:bootstrappers it gets no certificate, and logs and exec fail";
    /// Groups of nodes with a username that no node has.
    NodeUsername = "IM043", Error, "the groups of nodes with another username",
        "the API server lets a kubelet act only under `system:node:` and the name of its own Node: these nodes do not join";
    /// A placeholder of sessions where there is no session.
    SessionOfUser = "IM044", Error, "the name of a session where there is none",
        "an IAM user has no session: the name is empty for `{{SessionName}}`, and `{{EC2PrivateDNSName}}` refuses the login";
    /// A username that the caller chooses.
    CallerNamesItself = "IM045", Warning, "a username that the caller chooses",
        "whoever may assume the role chooses the session's name, and so can take the username of anyone else";
    /// `{{AccessKeyID}}`.
    AccessKeyId = "IM046", Warning, "a username or group with `{{AccessKeyID}}`",
        "authenticators v0.5.2 to v0.5.8 let the caller choose it (CVE-2022-2385), and it changes whenever keys are rotated, with each session of a role";
    /// A name that is not ours to give.
    ReservedName = "IM047", Warning, "a name with a reserved prefix",
        "Kubernetes and EKS keep these prefixes for themselves, access entries refuse them, and `identity-mapper:` is kept for handovers";
    /// A placeholder that the authenticator does not know.
    UnknownPlaceholder = "IM048", Error, "a placeholder that the authenticator does not know",
        "only {{AccountID}}, {{SessionName}}, {{SessionNameRaw}}, {{AccessKeyID}} and {{EC2PrivateDNSName}} are replaced, spelt exactly so: the braces become part of the name";
    /// Groups without a username.
    NoUsername = "IM049", Warning, "an entry without a username",
        "the login has no name: it has the rights of its groups, and audit logs don't tell who it is";
    /// Several list items on one line.
    OneLineList = "IM050", Error, "several list items on one line",
        "YAML takes the whole line for one text: a single group of that name, which is bound to nothing";
    /// A username or group with blanks around it.
    BlankInName = "IM051", Warning, "a blank at the end of a name",
        "usernames and groups are compared character by character: no binding names this one";

    /// An administrator with a node's username.
    PersonAsNode = "IM052", Error, "an administrator with the username of a node",
        "with {{EC2PrivateDNSName}} only EC2 instances can log in, and audit logs take the caller for a node";

    /// A group that nothing binds.
    UnboundGroup = "IM060", Warning, "a group that no binding names",
        "a group grants nothing by itself: a RoleBinding or ClusterRoleBinding has to name it";
    /// A binding of callers that did not sign in.
    AnonymousBinding = "IM061", Error, "a binding of callers that did not sign in",
        "whoever reaches the API server may do this, without any identity; Kubernetes itself binds only system:public-info-viewer so";
    /// What EKS needs to let nodes in.
    NodeManager = "IM062", Error, "eks:node-manager is missing",
        "EKS works with managed nodes through this ClusterRole and its binding: without it node groups fail with AccessDenied";
    /// A principal that IAM does not have.
    PrincipalGone = "IM063", Warning, "a principal that IAM does not have",
        "aws-auth matches by name: whoever makes a role or user of this name gets in with these groups";
    /// A user that IAM has under another path.
    UserPath = "IM064", Error, "a user with another path than IAM has",
        "STS names users with their path: the entry never matches";
    /// No entry lets nodes in.
    NoNodeEntry = "IM065", Error, "no entry lets nodes in",
        "a node signs in with its role: without an entry for it none can join, and those that run are lost one by one";
    /// aws-auth in a cluster that does not read it.
    NotRead = "IM066", Note, "aws-auth is not read",
        "in the mode API only access entries count";

    /// A manifest that the API server refuses.
    Refused = "IM070", Error, "a mapping that the API server refuses",
        "a rule of the CustomResourceDefinition forbids it: `kubectl apply` fails";
    /// Mappings of one principal.
    SamePrincipal = "IM071", Error, "mappings of one principal",
        "only the oldest mapping of a principal takes effect, and of those made at the same time the first by name";
    /// A mapping that would not take effect.
    NotInEffect = "IM072", Error, "a mapping that does not take effect",
        "the operator would report it as not ready";
    /// A mapping of a principal that has another identity in aws-auth.
    ForeignEntry = "IM073", Warning, "a mapping of a principal that aws-auth lets in otherwise",
        "an entry that the operator did not write is taken over only as `adoption` says: by default where it gives the same identity";
}

impl Code {
    /// The code, such as `IM020`.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.row().id
    }

    /// How bad a finding of this code is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        self.row().severity
    }

    /// What it is, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// Why it matters.
    #[must_use]
    pub const fn why(self) -> &'static str {
        self.row().why
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_said_once() {
        let ids: Vec<&str> = Code::ALL.iter().map(|code| code.id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        let titles: std::collections::BTreeSet<&str> =
            Code::ALL.iter().map(|code| code.title()).collect();
        assert_eq!(titles.len(), ids.len());
    }

    #[test]
    fn every_code_has_a_heading_and_every_heading_is_a_code() {
        let (_, section) = include_str!("../../docs/lint.md")
            .split_once("\n## Codes\n")
            .expect("the page has them");
        let parts: Vec<&str> = section.split("\n### ").skip(1).collect();
        let headings: Vec<&str> = parts
            .iter()
            .filter_map(|part| part.lines().next())
            .collect();
        let expected: Vec<String> = Code::ALL
            .iter()
            .map(|code| format!("{}: {}", code.id(), code.title()))
            .collect();
        assert_eq!(headings, expected);
        for (part, code) in parts.iter().zip(Code::ALL) {
            let words = |text: &str| {
                text.split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
                    .to_lowercase()
            };
            let said = words(part);
            assert!(said.contains(&words(code.why())), "no reason under {part}");
            assert!(
                said.contains(&format!("{}. ", code.severity())),
                "no severity under {part}"
            );
            assert!(part.contains("*Fix:* "), "no fix under {part}");
        }
    }
}
