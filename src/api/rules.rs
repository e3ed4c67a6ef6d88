//! The rules of an `IdentityMapping` that need no outside look, as CEL for the CRD.
//!
//! Invariants: what these rules accept parses ([`crate::principal`]); each says what is wrong and how to mend it; of
//! the rules about one text, at most one speaks, the first that is broken. The patterns hold in both dialects that read
//! them, Go's RE2 in the API server and Rust's `regex` in [`super::check`]: only explicit ASCII classes, no `\w` or `\s`.
//! A message that quotes a value can't be had when the value holds a line break, so texts that hold one are refused
//! first, by a rule that does not quote.

use kube::core::{Message, Rule};

/// The partitions of [`crate::principal::Partition`], as a pattern.
const PARTITION: &str = "(aws|aws-cn|aws-us-gov|aws-iso|aws-iso-b|aws-iso-e|aws-iso-f|aws-eusc)";
/// The characters of names in IAM (IAM user guide, *IAM and STS quotas*).
const NAME: &str = "[A-Za-z0-9_+=,.@-]";
/// The control characters of ASCII and of Latin-1.
const CONTROL: &str = r"[\u0000-\u001f\u007f-\u009f]";
/// The prefixes that EKS refuses in usernames and groups of access entries. The user guide (*Create access entries*)
/// lists them for usernames; `CreateAccessEntry` refuses them in groups too.
const EKS_RESERVED: &str = "^(system|eks|aws|amazon|iam):";

fn rule(rule: impl Into<String>, message: impl Into<String>) -> Rule {
    Rule::new(rule).message(Message::Message(message.into()))
}

/// A rule whose message is a CEL expression, so that it can name the value at fault.
fn telling(rule: impl Into<String>, message: impl Into<String>) -> Rule {
    Rule::new(rule).message(Message::Expression(message.into()))
}

/// A rule about texts that match the pattern `first`: they must match `then` as well.
fn narrows(first: &str, then: &str) -> String {
    format!("!self.matches('{first}') || self.matches('{then}')")
}

/// Exactly one of the two ways to name a principal.
pub(super) fn principal() -> Vec<Rule> {
    vec![
        rule(
            "has(self.arn) || has(self.permissionSet)",
            "names nobody: write arn, the ARN of an IAM role or user, or permissionSet",
        ),
        rule(
            "!has(self.arn) || !has(self.permissionSet)",
            "names two principals: remove arn or permissionSet, or make a mapping for each",
        ),
    ]
}

/// The shape of an ARN, part by part; each pattern narrows the one before it.
pub(super) fn arn() -> Vec<Rule> {
    let visible = "^[!-~]+$";
    // Visible characters but for the colon.
    let part = "[!-9;-~]*";
    let six_parts = format!("^arn:{part}:{part}:{part}:{part}:[!-~]+$");
    let partition = format!("^arn:{PARTITION}:{part}:{part}:{part}:[!-~]+$");
    let service = format!("^arn:{PARTITION}:(iam|sts):{part}:{part}:[!-~]+$");
    let region = format!("^arn:{PARTITION}:(iam|sts)::{part}:[!-~]+$");
    let account = format!("^arn:{PARTITION}:(iam|sts)::[0-9]{{12}}:[!-~]+$");
    let in_iam = "^[^:]*:[^:]*:iam:";
    let kind = "^[^:]*:[^:]*:iam:[^:]*:[^:]*:(role|user)/";
    let path = "^[^/]*/([!-~]+/)?[^/]*$";
    let name = format!("/{NAME}{{1,64}}$");
    let well_formed = format!("self.matches('{account}')");
    let principal = format!("{well_formed} && self.matches('{kind}')");
    let path_fits =
        format!("self.matches('{path}') && self.lastIndexOf('/') - self.indexOf('/') < 512");
    vec![
        rule(
            format!("self.matches('{visible}')"),
            "is empty, or holds a space, a line break or another character that no ARN holds: remove it",
        ),
        rule(
            narrows(visible, &six_parts),
            "is not an ARN: write arn:PARTITION:iam::ACCOUNT:role/NAME or arn:PARTITION:iam::ACCOUNT:user/NAME",
        ),
        telling(
            narrows(&six_parts, &partition),
            "\"unknown partition '\" + self.split(':')[1] + \"': write one of aws, aws-cn, aws-us-gov, aws-iso, aws-iso-b, aws-iso-e, aws-iso-f, aws-eusc\"",
        ),
        telling(
            narrows(&partition, &service),
            "\"'\" + self.split(':')[2] + \"' is not the service of a principal: write the ARN of a role or user of iam\"",
        ),
        telling(
            narrows(&service, &region),
            "\"ARNs of IAM have no region: leave the part '\" + self.split(':')[3] + \"' empty\"",
        ),
        telling(
            narrows(&region, &account),
            "\"account '\" + self.split(':')[4] + \"' is not an AWS account: write its 12 digits, leading zeros included\"",
        ),
        telling(
            format!(
                "!({well_formed} && self.matches('^[^:]*:[^:]*:sts:[^:]*:[^:]*:assumed-role/'))"
            ),
            "\"is a session of a role, and only the role can be mapped: write arn:\" + self.split(':')[1] + \":iam::\" + self.split(':')[4] + \":role/\" + self.split('/')[1]",
        ),
        rule(
            format!(
                "!({well_formed} && self.matches('^[^:]*:[^:]*:sts:')) || self.matches('^[^:]*:[^:]*:sts:[^:]*:[^:]*:assumed-role/')"
            ),
            "is a session of STS, such as a federated user's: map the role or the IAM user that it comes from",
        ),
        rule(
            format!("!({well_formed} && self.matches('{in_iam}')) || !self.endsWith(':root')"),
            "is the root user of the account, which EKS does not let in: map a role or a user",
        ),
        rule(
            format!("!({well_formed} && self.matches('{in_iam}[^:]*:[^:]*:group/'))"),
            "is an IAM group, which cannot sign in: map a role that its members assume, or each user",
        ),
        rule(
            format!(
                "!({well_formed} && self.matches('{in_iam}')) || self.endsWith(':root') || self.matches('{in_iam}[^:]*:[^:]*:group/') || self.matches('{kind}')"
            ),
            "is neither a role nor a user: write arn:PARTITION:iam::ACCOUNT:role/NAME or arn:PARTITION:iam::ACCOUNT:user/NAME",
        ),
        rule(
            format!("!({principal}) || ({path_fits})"),
            "has a path that IAM does not have: write at most 512 characters between single slashes, as in role/team/NAME",
        ),
        telling(
            format!("!({principal} && {path_fits}) || self.matches('{name}')"),
            "\"'\" + self.substring(self.lastIndexOf('/') + 1) + \"' is not a name of IAM: write 1 to 64 letters, digits or any of _+=,.@- and no wildcard\"",
        ),
    ]
}

/// The name of a permission set (SSO admin API, `CreatePermissionSet`).
pub(super) fn permission_set_name() -> Vec<Rule> {
    let role = "^AWSReservedSSO_.+_[0-9a-f]{16}$";
    vec![
        telling(
            format!("!self.matches('{role}')"),
            "\"is the name of the set's role: write the name of the permission set, '\" + self.substring(15, self.size() - 17) + \"'\"",
        ),
        rule(
            format!("self.matches('{role}') || self.matches('^{NAME}{{1,32}}$')"),
            "is not the name of a permission set: write 1 to 32 letters, digits or any of _+=,.@-",
        ),
    ]
}

/// The number of an account.
pub(super) fn account_id() -> Vec<Rule> {
    vec![rule(
        "self.matches('^[0-9]{12}$')",
        "is not an AWS account: write its 12 digits in quotes, leading zeros included, without hyphens",
    )]
}

/// CEL that is true where the text `value` has no placeholder that the authenticator would leave as it stands.
fn no_unknown_placeholder(value: &str) -> String {
    let known = [
        "AccountID",
        "SessionName",
        "SessionNameRaw",
        "AccessKeyID",
        "EC2PrivateDNSName",
    ];
    let replaced: String = known
        .iter()
        .map(|name| format!(".replace('{{{{{name}}}}}', '-')"))
        .collect();
    format!("!{value}{replaced}.contains('{{{{')")
}

const PLACEHOLDERS: &str = "{{AccountID}}, {{SessionName}}, {{SessionNameRaw}}, {{AccessKeyID}} or {{EC2PrivateDNSName}}, spelt exactly so";

/// A username, as [`crate::principal::Username`] has it.
pub(super) fn username() -> Vec<Rule> {
    vec![
        rule(
            "self.matches('[^ ]')",
            "is empty: write a username, or remove the field for the one that EKS gives by default",
        ),
        rule(
            format!("!self.matches('{CONTROL}')"),
            "holds a control character, such as a line break or tab: remove it",
        ),
        rule(
            "!self.startsWith('identity-mapper:')",
            "begins with identity-mapper:, which is reserved: choose another name",
        ),
        rule(
            no_unknown_placeholder("self"),
            format!("holds an unknown placeholder: write {PLACEHOLDERS}"),
        ),
    ]
}

/// Groups, as [`crate::principal::Group`] has them.
pub(super) fn groups() -> Vec<Rule> {
    let known = no_unknown_placeholder("g");
    vec![
        rule(
            "self.all(g, g.matches('[^ ]'))",
            "holds an empty group: write its name, or remove the item",
        ),
        rule(
            format!("self.all(g, !g.matches('{CONTROL}'))"),
            "holds a group with a control character, such as a line break or tab: remove the character",
        ),
        telling(
            "self.all(g, !g.startsWith('identity-mapper:'))",
            "\"group '\" + self.filter(g, g.startsWith('identity-mapper:'))[0] + \"' begins with identity-mapper:, which is reserved: choose another name\"",
        ),
        telling(
            format!("self.all(g, {known})"),
            format!(
                "\"group '\" + self.filter(g, !({known}))[0] + \"' holds an unknown placeholder: write {PLACEHOLDERS}\""
            ),
        ),
    ]
}

/// The name of an access policy.
pub(super) fn policy() -> Vec<Rule> {
    vec![
        telling(
            "!self.startsWith('arn:')",
            "\"is an ARN: write the policy's name alone, '\" + self.substring(self.lastIndexOf('/') + 1) + \"'\"",
        ),
        rule(
            format!("self.startsWith('arn:') || self.matches('^{NAME}+$')"),
            "is not the name of an access policy: write one such as AmazonEKSViewPolicy, as aws eks list-access-policies names them",
        ),
    ]
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
    vec![
        rule(
            format!("self.all(n, !n.matches('{CONTROL}'))"),
            "holds a namespace with a control character, such as a line break or tab: remove the character",
        ),
        telling(
            format!("self.exists(n, n.matches('{CONTROL}')) || self.all(n, {label})"),
            format!(
                "\"'\" + self.filter(n, !{label})[0] + \"' can be no namespace: write lower-case letters, digits and hyphens, at most 63, with * for any\""
            ),
        ),
    ]
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
            "'type ' + self.type + ' is for roles of nodes, and this is a user: write the role, or type Standard'",
        )
        .field_path(".principal.arn"),
        telling(
            "self.type == 'Standard' || !has(self.principal.permissionSet)",
            "'type ' + self.type + ' is for roles of nodes, and a permission set is for people: write arn, or type Standard'",
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
