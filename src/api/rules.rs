//! The rules of an `IdentityMapping` that need no outside look, as CEL for the CRD.
//!
//! Invariants: what these rules accept parses ([`crate::principal`]); each says what is wrong and how to fix it; of
//! one text only the first thing that is wrong is said. The patterns hold in both dialects that read them, Go's RE2 in
//! the API server and Rust's `regex` in [`super::check()`]: only explicit ASCII classes, no `\w` or `\s`.
//! The API server drops a message with a line break in it, so a value is quoted only once it is known to hold none.
//!
//! A good object costs few patterns: a rule is one test, and only where it fails does its message look for the reason.

use kube::core::{Message, Rule};

/// The partitions of [`crate::principal::Partition`].
const PARTITIONS: [&str; 8] = [
    "aws",
    "aws-cn",
    "aws-us-gov",
    "aws-iso",
    "aws-iso-b",
    "aws-iso-e",
    "aws-iso-f",
    "aws-eusc",
];
/// The characters of names in IAM (IAM user guide, *IAM and STS quotas*).
const NAME: &str = "[A-Za-z0-9_+=,.@-]";
/// The control characters of ASCII and of Latin-1.
const CONTROL: &str = r"[\u0000-\u001f\u007f-\u009f]";
/// The prefixes that EKS refuses in usernames and groups of access entries. The user guide (*Create access entries*)
/// lists them for usernames; `CreateAccessEntry` refuses them in groups too.
const EKS_RESERVED: &str = "^(system|eks|aws|amazon|iam):";
/// The placeholders of [`crate::principal::Placeholder`], for messages.
const PLACEHOLDERS: &str = "{{AccountID}}, {{SessionName}}, {{SessionNameRaw}}, {{AccessKeyID}} or {{EC2PrivateDNSName}}, spelled exactly like this";

fn rule(rule: impl Into<String>, message: impl Into<String>) -> Rule {
    Rule::new(rule).message(Message::Message(message.into()))
}

/// A rule whose message is a CEL expression, so that it can name the value at fault.
fn telling(rule: impl Into<String>, message: impl Into<String>) -> Rule {
    Rule::new(rule).message(Message::Expression(message.into()))
}

/// The message of the first condition that holds, else the last one: all of them CEL.
fn first_of(reasons: &[(&str, &str)], otherwise: &str) -> String {
    let reasons: Vec<String> = reasons
        .iter()
        .map(|(condition, message)| format!("{condition} ? {message} : "))
        .collect();
    reasons.concat() + otherwise
}

/// Exactly one of the two ways to name a principal.
pub(super) fn principal() -> Vec<Rule> {
    vec![
        rule(
            "has(self.arn) || has(self.permissionSet)",
            "has no principal: write arn, the ARN of an IAM role or user, or permissionSet",
        ),
        rule(
            "!has(self.arn) || !has(self.permissionSet)",
            "has two principals: remove arn or permissionSet, or create a mapping for each",
        ),
    ]
}

/// The shape of an ARN of a role or user.
pub(super) fn arn() -> Vec<Rule> {
    let partition = PARTITIONS.join("|");
    let shape =
        format!("^arn:({partition}):iam::[0-9]{{12}}:(role|user)/([!-~]+/)?{NAME}{{1,64}}$");
    let short_path = "self.lastIndexOf('/') - self.indexOf('/') < 512";
    let part = |index: usize| format!("self.split(':')[{index}]");
    let message = first_of(
        &[
            (
                "!self.matches('^[!-~]+$')",
                "'is empty, or contains a space, a line break or another character that is not allowed in an ARN: remove it'",
            ),
            (
                "!self.startsWith('arn:') || self.split(':').size() < 6",
                "'is not an ARN: write arn:PARTITION:iam::ACCOUNT:role/NAME or arn:PARTITION:iam::ACCOUNT:user/NAME'",
            ),
            (
                &format!("!self.matches('^arn:({partition}):')"),
                &format!(
                    "\"unknown partition '\" + {} + \"': write one of {}\"",
                    part(1),
                    PARTITIONS.join(", ")
                ),
            ),
            (
                &format!("!({} in ['iam', 'sts'])", part(2)),
                &format!(
                    "\"'\" + {} + \"' is not the service of a principal: write the ARN of an IAM role or user\"",
                    part(2)
                ),
            ),
            (
                &format!("{} != ''", part(3)),
                &format!(
                    "\"ARNs of IAM have no region: leave the part '\" + {} + \"' empty\"",
                    part(3)
                ),
            ),
            (
                &format!("!{}.matches('^[0-9]{{12}}$')", part(4)),
                &format!(
                    "\"account '\" + {} + \"' is not an AWS account: write its 12 digits, leading zeros included\"",
                    part(4)
                ),
            ),
            (
                &format!("{}.startsWith('assumed-role/')", part(5)),
                &format!(
                    "'is a session of a role, and only the role can be mapped: write arn:' + {} + ':iam::' + {} + ':role/' + self.split('/')[1]",
                    part(1),
                    part(4)
                ),
            ),
            (
                &format!("{} == 'sts'", part(2)),
                "\"is an STS session, such as that of a federated user: map the role or the IAM user that it comes from\"",
            ),
            (
                &format!("{} == 'root'", part(5)),
                "'is the root user of the account, which EKS does not accept: map a role or a user'",
            ),
            (
                &format!("{}.startsWith('group/')", part(5)),
                "'is an IAM group, which cannot sign in: map a role that its members assume, or each user'",
            ),
            (
                &format!("!{}.matches('^(role|user)/')", part(5)),
                "'is neither a role nor a user: write arn:PARTITION:iam::ACCOUNT:role/NAME or arn:PARTITION:iam::ACCOUNT:user/NAME'",
            ),
            (
                &format!("!self.matches('^[^/]*/([!-~]+/)?[^/]*$') || !({short_path})"),
                "'has a path that IAM does not allow: write at most 512 characters between single slashes, as in role/team/NAME'",
            ),
        ],
        "\"'\" + self.substring(self.lastIndexOf('/') + 1) + \"' is not an IAM name: write 1 to 64 letters, digits or any of _+=,.@- and no wildcard\"",
    );
    vec![telling(
        format!("self.matches('{shape}') && {short_path}"),
        message,
    )]
}

/// The name of a permission set (SSO admin API, `CreatePermissionSet`).
pub(super) fn permission_set_name() -> Vec<Rule> {
    let message = first_of(
        &[(
            "self.matches('^AWSReservedSSO_.+_[0-9a-f]{16}$')",
            "\"is the name of the role: write the name of the permission set, '\" + self.substring(15, self.size() - 17) + \"'\"",
        )],
        "'is not the name of a permission set: write 1 to 32 letters, digits or any of _+=,.@-'",
    );
    vec![telling(
        format!("self.matches('^{NAME}{{1,32}}$')"),
        message,
    )]
}

/// The number of an account.
pub(super) fn account_id() -> Vec<Rule> {
    vec![rule(
        "self.matches('^[0-9]{12}$')",
        "is not an AWS account: write its 12 digits in quotes, leading zeros included, without hyphens",
    )]
}

/// CEL that is true where the text `value` is a username or group.
fn is_identity(value: &str) -> String {
    let known = no_unknown_placeholder(value);
    format!(
        "{value}.trim() != '' && !{value}.matches('{CONTROL}') && !{value}.startsWith('identity-mapper:') && {known}"
    )
}

/// CEL that is true where the text `value` has no placeholder that the authenticator would leave as it is.
fn no_unknown_placeholder(value: &str) -> String {
    let known = [
        "AccountID",
        "SessionName",
        "SessionNameRaw",
        "AccessKeyID",
        "EC2PrivateDNSName",
    ];
    let replaced = known
        .map(|name| format!(".replace('{{{{{name}}}}}', '-')"))
        .concat();
    format!("!{value}{replaced}.contains('{{{{')")
}

/// A username, as [`crate::principal::Username`] has it.
pub(super) fn username() -> Vec<Rule> {
    let message = first_of(
        &[
            (
                "self.trim() == ''",
                "'is empty: write a username, or remove the field for the one that EKS gives by default'",
            ),
            (
                &format!("self.matches('{CONTROL}')"),
                "'contains a control character, such as a line break or tab: remove it'",
            ),
            (
                "self.startsWith('identity-mapper:')",
                "'begins with identity-mapper:, which is reserved: choose another name'",
            ),
        ],
        &format!("'contains an unknown placeholder: write {PLACEHOLDERS}'"),
    );
    vec![telling(is_identity("self"), message)]
}

/// Groups, as [`crate::principal::Group`] has them.
pub(super) fn groups() -> Vec<Rule> {
    let known = no_unknown_placeholder("g");
    let message = first_of(
        &[
            (
                "self.exists(g, g.trim() == '')",
                "'contains an empty group: write its name, or remove the item'",
            ),
            (
                &format!("self.exists(g, g.matches('{CONTROL}'))"),
                "'contains a group with a control character, such as a line break or tab: remove the character'",
            ),
            (
                "self.exists(g, g.startsWith('identity-mapper:'))",
                "\"group '\" + self.filter(g, g.startsWith('identity-mapper:'))[0] + \"' begins with identity-mapper:, which is reserved: choose another name\"",
            ),
        ],
        &format!(
            "\"group '\" + self.filter(g, !({known}))[0] + \"' contains an unknown placeholder: write {PLACEHOLDERS}\""
        ),
    );
    vec![telling(
        format!("self.all(g, {})", is_identity("g")),
        message,
    )]
}

/// An end of access, as [`crate::time::Timestamp`] reads it: a date of the calendar, in the years 2000 to 2999.
///
/// It is a string without `format: date-time`. The API server takes more for a time by that format than it can read itself (`+99:99`),
/// and CEL would see a time in place of what was written.
pub(super) fn valid_until() -> Vec<Rule> {
    const TIME: &str = "([01][0-9]|2[0-3]):[0-5][0-9]";
    let day = "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))";
    let leap = "2([048]00|[0-9](0[48]|[2468][048]|[13579][26]))-02-29";
    let shape =
        format!("^(2[0-9]{{3}}-{day}|{leap})T{TIME}:[0-5][0-9]([.][0-9]{{1,9}})?(Z|[+-]{TIME})$");
    let message = first_of(
        &[(
            "self.matches('^[0-9]{4}-.*$') && !self.startsWith('2')",
            "'is not in the years 2000 to 2999: write a time of these years, as in 2026-12-24T18:00:00Z, or remove validUntil for access that does not end'",
        )],
        "'is not a time: write a valid date, a time and a time zone, as in 2026-12-24T18:00:00Z or 2026-12-24T18:00:00+01:00'",
    );
    vec![telling(format!("self.matches('{shape}')"), message)]
}

/// The name of an access policy.
pub(super) fn policy() -> Vec<Rule> {
    let message = first_of(
        &[(
            "self.matches('^arn:[!-~]*$')",
            "\"is an ARN: write the policy's name alone, '\" + self.substring(self.lastIndexOf('/') + 1) + \"'\"",
        )],
        "'is not the name of an access policy: write one such as AmazonEKSViewPolicy, as aws eks list-access-policies names them'",
    );
    vec![telling(format!("self.matches('^{NAME}+$')"), message)]
}

/// What a scope's type wants of its namespaces, as `AssociateAccessPolicy` has it.
pub(super) fn scope() -> Vec<Rule> {
    let namespaces = "has(self.namespaces) && size(self.namespaces) > 0";
    vec![
        rule(
            format!("self.type != 'Namespace' || ({namespaces})"),
            "has type Namespace but no namespaces: write at least one, or type Cluster",
        ),
        rule(
            format!("self.type != 'Cluster' || !({namespaces})"),
            "has type Cluster and namespaces: write type Namespace, or remove the namespaces",
        ),
    ]
}

/// Names of namespaces (DNS labels), with the wildcard of access scopes.
pub(super) fn namespaces() -> Vec<Rule> {
    let label = "n.matches('^[a-z0-9*-]{1,63}$')";
    let message = first_of(
        &[(
            &format!("self.exists(n, n.matches('{CONTROL}'))"),
            "'contains a namespace with a control character, such as a line break or tab: remove the character'",
        )],
        &format!(
            "\"'\" + self.filter(n, !{label})[0] + \"' is not a namespace: write lower-case letters, digits and hyphens, at most 63, with * for any text\""
        ),
    );
    vec![telling(format!("self.all(n, {label})"), message)]
}

/// What concerns several fields: types of nodes, and what EKS refuses in an access entry.
pub(super) fn spec() -> Vec<Rule> {
    let mut rules = node_types();
    rules.extend(access_entry());
    rules
}

/// EKS sets username and groups of node types itself, associates no policy with them but for type `EC2`, and takes
/// only roles (EKS user guide, *Create access entries*).
fn node_types() -> Vec<Rule> {
    vec![
        telling(
            "self.type == 'Standard' || !has(self.username)",
            "'type ' + self.type + ' takes no username, because EKS sets the one that the nodes need: remove username, or write type Standard'",
        )
        .field_path(".username"),
        telling(
            "self.type == 'Standard' || !has(self.groups) || size(self.groups) == 0",
            "'type ' + self.type + ' takes no groups, because EKS sets those that the nodes need: remove groups, or write type Standard'",
        )
        .field_path(".groups"),
        telling(
            "self.type in ['Standard', 'EC2'] || !has(self.accessPolicies) || size(self.accessPolicies) == 0",
            "'type ' + self.type + ' takes no access policies: remove accessPolicies, or write type Standard (EC2 for nodes of EKS Auto Mode)'",
        )
        .field_path(".accessPolicies"),
        telling(
            "self.type == 'Standard' || !has(self.principal.arn) || !self.principal.arn.matches('^[^/]*:user/')",
            "'type ' + self.type + ' is for node roles, and this is a user: write a role, or type Standard'",
        )
        .field_path(".principal.arn"),
        telling(
            "self.type == 'Standard' || !has(self.principal.permissionSet)",
            "'type ' + self.type + ' is for node roles, and a permission set is for people: write arn, or type Standard'",
        )
        .field_path(".principal.permissionSet"),
        telling(
            "self.backend != 'ConfigMap' || !(self.type in ['HybridLinux', 'EC2', 'HyperPodLinux'])",
            "'type ' + self.type + ' exists only as an access entry: write backend AccessEntry or Auto'",
        )
        .field_path(".backend"),
    ]
}

/// What EKS refuses in an access entry, where a mapping insists on one.
fn access_entry() -> Vec<Rule> {
    let reserved = format!("g.matches('{EKS_RESERVED}') && g != 'system:masters'");
    vec![
        rule(
            format!(
                "self.backend != 'AccessEntry' || !has(self.username) || !self.username.matches('{EKS_RESERVED}')"
            ),
            "begins with system:, eks:, aws:, amazon: or iam:, which EKS refuses in an access entry: choose another name, or write backend ConfigMap",
        )
        .field_path(".username"),
        rule(
            "self.backend != 'AccessEntry' || !has(self.username) || !self.username.matches('^[^:]*[{][{]SessionName(Raw)?[}][}]')",
            "has {{SessionName}} or {{SessionNameRaw}} without a colon before it, which EKS refuses in an access entry: write a prefix, such as sso:{{SessionName}}",
        )
        .field_path(".username"),
        telling(
            format!("self.backend != 'AccessEntry' || !has(self.groups) || !self.groups.exists(g, {reserved})"),
            format!(
                "\"group '\" + self.groups.filter(g, {reserved})[0] + \"' has a prefix that EKS refuses in an access entry (system:, eks:, aws:, amazon:, iam:): bind another group, use accessPolicies, or write backend ConfigMap\""
            ),
        )
        .field_path(".groups"),
        rule(
            "self.backend != 'AccessEntry' || !has(self.principal.arn) || !self.principal.arn.matches('^[^/]*:role/(aws-service-role/|AWSServiceRoleFor[^/]*$)')",
            "is a service-linked role, for which EKS refuses access entries: write backend ConfigMap",
        )
        .field_path(".principal.arn"),
    ]
}
