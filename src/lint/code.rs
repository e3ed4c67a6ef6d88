//! The codes of all findings. Each has a heading in `docs/lint.md`.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
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
struct CodeInfo {
    id: &'static str,
    severity: Severity,
    title: &'static str,
    why: &'static str,
}

macro_rules! codes {
    ($($name:ident = $id:literal, $severity:ident, $title:literal, $why:literal;)*) => {
        /// A kind of finding. Codes are stable: they are never given another meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            const fn row(self) -> CodeInfo {
                match self {
                    $(Self::$name => CodeInfo {
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
    BrokenText = "IM001", Error, "invalid YAML in a key of aws-auth",
        "the authenticator drops the whole key at the first YAML error: none of its principals has access, nodes included";
    UnquotedTemplate = "IM002", Error, "unquoted template",
        "`{` starts a mapping in YAML, so the text can't be read at all";
    Tab = "IM003", Error, "tab in the indentation",
        "YAML forbids tabs in indentation, so the text can't be read at all";
    DescribeOutput = "IM004", Error, "output of `kubectl describe` instead of YAML",
        "`kubectl describe` prints for people: its output is not YAML and can't be applied, so the key can't be read";
    NoList = "IM005", Error, "key of aws-auth without a list",
        "the authenticator reads a list of entries and drops any other value completely";
    Indentation = "IM006", Error, "inconsistent indentation",
        "indentation is the structure of YAML: if it is inconsistent, the text can't be read";
    EntryDropped = "IM007", Error, "dropped entry",
        "the authenticator drops the entry silently: its principal has no access";
    ValueEmptied = "IM008", Error, "value of the wrong type",
        "the authenticator drops the value and keeps the rest of the entry: the principal gets a different identity than intended";
    Yaml11Word = "IM009", Error, "unquoted YAML 1.1 keyword or number",
        "go-yaml reads YAML 1.1, in which yes, no, on, off, y, n, ~ and numbers such as 1e3 are not strings: the value is dropped \
            or refused";
    UnreadKey = "IM010", Warning, "unknown key",
        "only mapRoles, mapUsers and mapAccounts are read, spelled exactly like this: entries under any other key have no effect";
    RepeatedField = "IM011", Warning, "duplicate field",
        "the last one counts; the earlier ones have no effect";
    UnknownField = "IM012", Warning, "unknown field",
        "an entry has the fields rolearn or userarn, username and groups: any other field is silently ignored";
    SecondDocument = "IM013", Error, "text after the first YAML document",
        "the authenticator reads only the first document of a key: entries after it have no effect";
    NoManifest = "IM014", Error, "invalid manifest",
        "the API server rejects a manifest that it can't read: nothing in it takes effect";

    MissingGroups = "IM015", Error, "list without `groups:` before it",
        "YAML reads the list as part of the value above it: the groups are lost, and often the whole text is invalid";
    ListDash = "IM016", Error, "missing or surplus `- `",
        "`- ` begins an entry or a group: if one is missing or surplus, fields become part of the wrong entry";
    NotClosed = "IM017", Error, "unclosed quote or bracket",
        "YAML reads on to the next quote or bracket, so the whole text is invalid or the value contains extra characters";
    FieldColon = "IM018", Error, "field that is not written as `name: value`",
        "a field consists of a name, a colon, a space and one value: YAML reads anything else as part of another value";
    Lookalike = "IM019", Error, "character that looks like another",
        "YAML recognizes only plain spaces, quotes, dashes and colons: any other character becomes part of a name, or makes \
            the text invalid";

    RolePath = "IM020", Error, "role path in an ARN",
        "aws-iam-authenticator sees roles without their path, so an entry with a path never matches";
    BlankInArn = "IM021", Error, "whitespace in an ARN",
        "ARNs are compared character by character: with whitespace the entry never matches";
    Wildcard = "IM022", Error, "wildcard in an ARN",
        "aws-auth has no wildcards: the ARN is compared literally and never matches";
    SessionArn = "IM023", Error, "ARN of a session",
        "the authenticator converts a session to its role before it searches: an entry for a session never matches";
    NotAPrincipal = "IM024", Error, "ARN that is neither a role nor a user",
        "only roles and users, as STS returns them, can sign in: the entry never matches";
    RootUser = "IM025", Warning, "root user of an account",
        "the ARN matches only the root user, and none of the account's users and roles; a root user should not have access keys";
    SsoEntry = "IM026", Error, "entry with `sso`",
        "`sso` needs the authenticator's feature gate SSORoleMatch, which is off on EKS: the entry never matches";
    WrongList = "IM027", Warning, "principal in the wrong list",
        "the authenticator finds it there, but eksctl, Terraform modules and people search in its own list and add it a second \
            time";
    WholeAccount = "IM028", Note, "whole account",
        "every role and user of the account, including future ones, is authenticated under its own ARN and gets what \
            `system:authenticated` grants";
    BadAccount = "IM029", Error, "invalid account ID",
        "an account ID has exactly twelve digits: anything else never matches";

    RepeatedEntry = "IM030", Warning, "duplicate entry",
        "the last one counts: editing the other one has no effect";
    ShadowedEntry = "IM031", Error, "overridden entry",
        "the authenticator uses one entry for each principal and never merges groups: the last one in mapRoles, else the last one \
            in mapUsers";
    CaseVariant = "IM032", Error, "ARNs that differ only in case",
        "mapUsers stores ARNs case-sensitively but matches them case-insensitively: the winning entry is random at each login";

    OtherPartition = "IM033", Error, "entry of another partition",
        "a cluster accepts only callers of its own partition: entries of another one never match";

    NotRendered = "IM034", Error, "template that was not rendered",
        "EKS reads the text as it is: the authenticator replaces only its own five placeholders, and no other expressions";
    NotFilledIn = "IM035", Error, "variable or placeholder that was not filled in",
        "EKS compares names literally: an entry with a variable in its ARN never matches";
    CopiedAlong = "IM036", Error, "text that was copied along",
        "line numbers, quote markers such as `>` and `\\n` are not part of YAML: they become part of names, or make the text \
            invalid";
    Folded = "IM037", Error, "folded block",
        "`>` joins lines with spaces: the list becomes one line of text";
    NestedKey = "IM038", Error, "key inside the value of another key",
        "text that is indented below a key is part of its value: the inner key is not read, and makes the outer one invalid";
    OtherConfigMap = "IM039", Error, "ConfigMap that EKS does not read",
        "EKS reads only the ConfigMap aws-auth in the namespace kube-system";

    NoGroups = "IM040", Note, "entry without groups",
        "the principal can sign in but has no permissions, unless a binding names its username";
    AlmostWellKnown = "IM041", Error, "misspelled well-known group",
        "groups are compared character by character: no binding names this one";
    NodeGroups = "IM042", Error, "node entry without a required group",
        "without system:nodes the kubelet can neither register nor read its Pods; without system:bootstrappers it gets no \
            certificate, and logs and exec fail";
    NodeUsername = "IM043", Error, "node entry with a username that no kubelet has",
        "the API server accepts a kubelet only if its username is `system:node:` and the name of its own Node: these nodes \
            can't join";
    SessionOfUser = "IM044", Error, "session placeholder for an IAM user",
        "an IAM user has no session: `{{SessionName}}` is empty, and `{{EC2PrivateDNSName}}` makes the login fail";
    CallerNamesItself = "IM045", Warning, "username chosen by the caller",
        "anyone who can assume the role chooses the session name, and so can take the username of someone else";
    AccessKeyId = "IM046", Warning, "`{{AccessKeyID}}` in a username or group",
        "authenticator v0.5.2 to v0.5.8 lets the caller choose it (CVE-2022-2385), and it changes with every key rotation and \
            with every session of a role";
    ReservedName = "IM047", Warning, "reserved prefix",
        "Kubernetes and EKS reserve these prefixes and access entries refuse them; `identity-mapper:` is reserved for handovers";
    UnknownPlaceholder = "IM048", Error, "unknown placeholder",
        "only {{AccountID}}, {{SessionName}}, {{SessionNameRaw}}, {{AccessKeyID}} and {{EC2PrivateDNSName}} are replaced, \
            with exactly this spelling: any other placeholder stays in the name, braces included";
    NoUsername = "IM049", Warning, "entry without a username",
        "the login has no name: it has the permissions of its groups, and audit logs don't show who it is";
    OneLineList = "IM050", Error, "several list items on one line",
        "YAML reads the whole line as one string: a single group that no binding names";
    BlankInName = "IM051", Warning, "whitespace around a name",
        "usernames and groups are compared character by character: no binding names this one";

    PersonAsNode = "IM052", Error, "administrator with the username of a node",
        "with {{EC2PrivateDNSName}} only EC2 instances can log in, and audit logs show the caller as a node";

    SsoSuffix = "IM053", Warning, "role of IAM Identity Center without its suffix",
        "the names of IAM Identity Center's roles end in an underscore and 16 hexadecimal digits: no such role exists";
    AngleBrackets = "IM054", Error, "angle brackets around a value",
        "EKS reads brackets that were copied from an example as part of the name: no binding and no kubelet has such a name";
    UnknownSystemGroup = "IM055", Warning, "`system:` group that Kubernetes does not have",
        "a group grants nothing by itself, and Kubernetes binds no group of this name";
    DuplicateKey = "IM056", Error, "duplicate key in a manifest",
        "kubectl keeps the last one and drops everything under the earlier ones";
    MisspelledField = "IM057", Error, "misspelled groups or username",
        "the authenticator ignores the field silently: the entry has no groups or no username, and the principal has \
            different access than intended";
    RoleAsGroup = "IM058", Warning, "group with the name of a ClusterRole",
        "a ClusterRole is not a group: a group of this name grants nothing, unless a binding names the group";
    LostPlaceholder = "IM059", Warning, "name without its last or first part",
        "a template tool removes `{{…}}`: the rest is the same name for every session";

    UnboundGroup = "IM060", Warning, "group without a binding",
        "a group grants nothing by itself: a RoleBinding or ClusterRoleBinding has to name it";
    AnonymousBinding = "IM061", Error, "binding for unauthenticated callers",
        "everyone who can reach the API server has these permissions without signing in; by default Kubernetes binds only \
            system:public-info-viewer this way";
    NodeManager = "IM062", Error, "missing eks:node-manager",
        "EKS manages nodes through this ClusterRole and its binding: without it managed node groups fail with AccessDenied";
    PrincipalGone = "IM063", Warning, "principal that does not exist in IAM",
        "aws-auth matches by name: anyone who creates a role or user with this name gets these groups";
    UserPath = "IM064", Error, "user path that differs from IAM",
        "STS returns users with their path: the entry never matches";
    NoNodeEntry = "IM065", Error, "no entry for nodes",
        "a node signs in with its role: without an entry no node can join, and running nodes are lost one by one";
    NotRead = "IM066", Note, "aws-auth in a cluster that does not read it",
        "in API mode, EKS reads only access entries";

    DeadAccessEntry = "IM067", Error, "access entry of a deleted or recreated principal",
        "EKS identifies a principal by its unique ID: a recreated principal of the same name has a new ID";
    PowerlessAccessEntry = "IM068", Warning, "access entry that grants nothing",
        "permissions come from access policies and from bindings of the groups and the username: this entry has none of them";
    BindingOfAccessEntry = "IM069", Warning, "binding of an `eks-access-entry:` name",
        "no login has a group or username of this form, whatever access entries exist";

    Refused = "IM070", Error, "invalid mapping",
        "a rule of the CustomResourceDefinition forbids it: `kubectl apply` fails";
    SamePrincipal = "IM071", Error, "several mappings for one principal",
        "only the oldest mapping of a principal takes effect; if several are equally old, the first by name";
    NotInEffect = "IM072", Error, "mapping that would not become ready",
        "the object is valid, but it would not take effect in this cluster";
    ForeignEntry = "IM073", Warning, "mapping that differs from aws-auth",
        "the operator adopts an unmanaged entry only as `adoption` allows: by default only an identical one";
    MisspelledPolicy = "IM074", Warning, "misspelled access policy",
        "EKS refuses to associate a policy that it does not have: the principal does not get these permissions";

    BindsNobody = "IM080", Note, "binding of a name that no principal has",
        "no entry of aws-auth, access entry or mapping has this name, and the cluster has no OIDC identity provider: a \
            principal that gets the name later gets these permissions";

    UnknownIgnored = "IM090", Error, "ignore comment without a valid code",
        "an ignore comment hides the findings whose codes it names: without a valid code it hides nothing";
    NothingIgnored = "IM091", Note, "ignore comment that matches no finding",
        "the finding is gone or on another line: the comment could hide a new finding unnoticed";

    LooksUnfilled = "IM092", Warning, "name that looks like a placeholder",
        "the name is valid, so that it may be right: if no such role or user exists, the entry never matches";
    RepeatedConfigMap = "IM093", Error, "aws-auth more than once in a file",
        "`kubectl apply` applies one after the other: the last one counts, and nothing in the earlier ones takes effect";
    MisspelledKey = "IM094", Error, "misspelled key of aws-auth",
        "the authenticator reads only mapRoles, mapUsers and mapAccounts, with exactly this spelling: no entry under another key takes \
            effect";
    FargateUsername = "IM095", Warning, "Fargate entry with the username of EC2 nodes",
        "`{{EC2PrivateDNSName}}` makes the login fail for sessions that are no EC2 instances, such as those of Fargate";
}

impl Code {
    /// The code of this name, in any case.
    #[must_use]
    /// Reads a code, also without its letters: `60` is `IM060`.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        let id = if is_number {
            format!("IM{id:0>3}")
        } else {
            id.to_owned()
        };
        let mut all = Self::ALL.iter().copied();
        all.find(|code| code.id().eq_ignore_ascii_case(&id))
    }

    /// The code, such as `IM020`.
    #[must_use]
    pub(crate) const fn id(self) -> &'static str {
        self.row().id
    }

    /// How bad a finding of this code is.
    #[must_use]
    pub(crate) const fn severity(self) -> Severity {
        self.row().severity
    }

    /// The heading of its page, which findings give with their values.
    pub(crate) const fn title(self) -> &'static str {
        self.row().title
    }

    #[must_use]
    pub(crate) const fn why(self) -> &'static str {
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
    fn a_code_is_read_with_and_without_its_letters() {
        for id in ["IM060", "im060", "060", "60"] {
            assert_eq!(Code::parse(id).map(Code::id), Some("IM060"), "{id}");
        }
        assert_eq!(Code::parse("8").map(Code::id), Some("IM008"));
        for id in ["", "0", "IM60", "6O", "-60", "9999"] {
            assert_eq!(Code::parse(id), None, "{id}");
        }
    }

    #[test]
    fn codes_are_in_order_and_unique() {
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
