//! Mappings, good and bad, with what is said about the bad ones.

/// A mapping's spec and all that is wrong with it.
pub(crate) struct Case {
    /// What the case is about.
    pub(crate) name: &'static str,
    /// The spec as YAML.
    pub(crate) spec: String,
    /// For each thing that is wrong: the field, and a part of the message, in lower case. Empty: the mapping is good.
    pub(crate) wrong: Vec<(&'static str, &'static str)>,
}

/// Stands for a good principal in a table below.
const ROLE: &str = "principal: {arn: 'arn:aws:iam::111122223333:role/Admin'}";

fn good(name: &'static str, spec: impl Into<String>) -> Case {
    Case { name, spec: spec.into(), wrong: Vec::new() }
}

fn bad(name: &'static str, spec: impl Into<String>, field: &'static str, message: &'static str) -> Case {
    Case { name, spec: spec.into(), wrong: vec![(field, message)] }
}

/// A role with one more field.
fn with(fields: &str) -> String {
    format!("{ROLE}\n{fields}")
}

fn arn(arn: &str) -> String {
    format!("principal: {{arn: '{arn}'}}")
}

fn numbered(prefix: &str, count: usize) -> String {
    let items: Vec<String> = (0..count).map(|number| format!("{prefix}{number}")).collect();
    format!("[{}]", items.join(", "))
}

/// The whole table.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = principals();
    cases.extend(identities());
    cases.extend(policies());
    cases.extend(nodes());
    cases.extend(backends());
    cases
}

fn principals() -> Vec<Case> {
    const ARN: &str = "spec.principal.arn";
    const SET: &str = "spec.principal.permissionSet.name";
    const ACCOUNT: &str = "spec.principal.permissionSet.accountId";
    let set = |name: &str, account: &str| format!("principal: {{permissionSet: {{name: '{name}', accountId: '{account}'}}}}");
    vec![
        good("a role", ROLE),
        good("a role with a path", arn("arn:aws:iam::111122223333:role/team/a/Admin")),
        good("a path with a colon", arn("arn:aws:iam::111122223333:role/team:a/Admin")),
        good("every character of a name", arn("arn:aws:iam::111122223333:role/aZ9_+=,.@-")),
        good("a name of 64", arn(&format!("arn:aws:iam::111122223333:role/{}", "n".repeat(64)))),
        good(
            "the longest ARN",
            arn(&format!("arn:aws-us-gov:iam::111122223333:role/{}/{}", "p".repeat(510), "n".repeat(64))),
        ),
        good(
            "an SSO role with region",
            arn("arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123456789abcdef"),
        ),
        good(
            "an SSO role without region",
            arn("arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef"),
        ),
        good("a user", arn("arn:aws:iam::111122223333:user/bob")),
        good("a user with a path", arn("arn:aws:iam::111122223333:user/div/bob")),
        good("China", arn("arn:aws-cn:iam::111122223333:role/Admin")),
        good("GovCloud", arn("arn:aws-us-gov:iam::111122223333:role/Admin")),
        good("ISO", arn("arn:aws-iso:iam::111122223333:role/Admin")),
        good("ISOB", arn("arn:aws-iso-b:iam::111122223333:role/Admin")),
        good("ISOE", arn("arn:aws-iso-e:iam::111122223333:role/Admin")),
        good("ISOF", arn("arn:aws-iso-f:iam::111122223333:role/Admin")),
        good("the European Sovereign Cloud", arn("arn:aws-eusc:iam::111122223333:role/Admin")),
        good("a permission set", set("AdministratorAccess", "111122223333")),
        good("a permission set with every character", set("a_B+c=d,e.f@g-9", "011122223333")),
        good(
            "a null stands for nothing",
            "principal: {arn: 'arn:aws:iam::111122223333:role/Admin', permissionSet: null}",
        ),
        bad("no principal", "{}", "spec.principal", "required value"),
        bad("an empty principal", "principal: {}", "spec.principal", "has no principal: write arn"),
        bad(
            "both principals",
            "principal: {arn: 'arn:aws:iam::111122223333:role/Admin', permissionSet: {name: A, accountId: '111122223333'}}",
            "spec.principal",
            "has two principals: remove arn or permissionset",
        ),
        bad("an empty ARN", arn(""), ARN, "is empty, or contains a space"),
        bad("a space behind an ARN", arn("arn:aws:iam::111122223333:role/Admin "), ARN, "contains a space"),
        bad(
            "a line break behind an ARN",
            "principal: {arn: \"arn:aws:iam::111122223333:role/Admin\\n\"}",
            ARN,
            "a line break",
        ),
        bad(
            "a letter that only looks right",
            arn("arn:aws:iam::111122223333:role/\u{410}dmin"),
            ARN,
            "not allowed in an arn",
        ),
        bad("a name for an ARN", arn("Admin"), ARN, "is not an arn: write arn:partition:iam::account:role/name"),
        bad("five parts", arn("arn:aws:iam:111122223333:role/Admin"), ARN, "is not an arn"),
        bad("upper case", arn("ARN:aws:iam::111122223333:role/Admin"), ARN, "is not an arn"),
        bad(
            "an unknown partition",
            arn("arn:aws-xx:iam::111122223333:role/Admin"),
            ARN,
            "unknown partition 'aws-xx': write one of aws, aws-cn",
        ),
        bad(
            "another service",
            arn("arn:aws:ec2::111122223333:instance/i-1"),
            ARN,
            "'ec2' is not the service of a principal",
        ),
        bad(
            "a region",
            arn("arn:aws:iam:eu-west-1:111122223333:role/Admin"),
            ARN,
            "leave the part 'eu-west-1' empty",
        ),
        bad(
            "eleven digits",
            arn("arn:aws:iam::11112222333:role/Admin"),
            ARN,
            "account '11112222333' is not an aws account",
        ),
        bad("no account", arn("arn:aws:iam::aws:role/Admin"), ARN, "account 'aws' is not an aws account"),
        bad(
            "a session",
            arn("arn:aws-cn:sts::111122223333:assumed-role/Admin/alice@example.com"),
            ARN,
            "only the role can be mapped: write arn:aws-cn:iam::111122223333:role/admin",
        ),
        bad(
            "a session without a name",
            arn("arn:aws:sts::111122223333:assumed-role/Admin"),
            ARN,
            "write arn:aws:iam::111122223333:role/admin",
        ),
        bad(
            "a federated user",
            arn("arn:aws:sts::111122223333:federated-user/bob"),
            ARN,
            "is an sts session, such as that of a federated user",
        ),
        bad("the root user", arn("arn:aws:iam::111122223333:root"), ARN, "is the root user of the account"),
        bad(
            "a group",
            arn("arn:aws:iam::111122223333:group/admins"),
            ARN,
            "is an iam group, which cannot sign in",
        ),
        bad(
            "an instance profile",
            arn("arn:aws:iam::111122223333:instance-profile/nodes"),
            ARN,
            "is neither a role nor a user",
        ),
        bad("a role without a name", arn("arn:aws:iam::111122223333:role"), ARN, "is neither a role nor a user"),
        bad("an empty name", arn("arn:aws:iam::111122223333:role/team/"), ARN, "'' is not an iam name"),
        bad(
            "a wildcard",
            arn("arn:aws:iam::111122223333:role/*"),
            ARN,
            "'*' is not an iam name: write 1 to 64 letters",
        ),
        bad(
            "a name of 65",
            arn(&format!("arn:aws:iam::111122223333:role/{}", "n".repeat(65))),
            ARN,
            "is not an iam name",
        ),
        bad(
            "two slashes",
            arn("arn:aws:iam::111122223333:role//Admin"),
            ARN,
            "has a path that iam does not allow",
        ),
        bad(
            "a path of 513",
            arn(&format!("arn:aws:iam::111122223333:role/{}/Admin", "p".repeat(511))),
            ARN,
            "at most 512 characters",
        ),
        bad(
            "too long an ARN",
            arn(&format!("arn:aws:iam::111122223333:role/{}", "n".repeat(640))),
            ARN,
            "too long: may not be more than 640",
        ),
        bad("a number for an ARN", "principal: {arn: 111122223333}", ARN, "must be of type string"),
        bad(
            "a permission set without account",
            "principal: {permissionSet: {name: Admin}}",
            ACCOUNT,
            "required value",
        ),
        bad(
            "a permission set without name",
            "principal: {permissionSet: {accountId: '111122223333'}}",
            SET,
            "required value",
        ),
        bad(
            "is the name of the role",
            set("AWSReservedSSO_Admin_View_0123456789abcdef", "111122223333"),
            SET,
            "is the name of the role: write the name of the permission set, 'admin_view'",
        ),
        bad("an empty permission set", set("", "111122223333"), SET, "write 1 to 32 letters"),
        bad("a permission set of 33", set(&"s".repeat(33), "111122223333"), SET, "write 1 to 32 letters"),
        bad("a permission set with a space", set("Admin Access", "111122223333"), SET, "write 1 to 32 letters"),
        bad(
            "an account with hyphens",
            set("Admin", "1111-2222-3333"),
            ACCOUNT,
            "write its 12 digits in quotes, leading zeros included, without hyphens",
        ),
        bad(
            "an account as a number",
            "principal: {permissionSet: {name: Admin, accountId: 111122223333}}",
            ACCOUNT,
            "must be of type string",
        ),
        bad(
            "a misspelt field",
            "principal: {arn: 'arn:aws:iam::111122223333:role/Admin', permisionSet: {}}",
            "spec.principal.permisionSet",
            "unknown field",
        ),
    ]
}

fn identities() -> Vec<Case> {
    const USER: &str = "spec.username";
    const GROUPS: &str = "spec.groups";
    const UNTIL: &str = "spec.validUntil";
    vec![
        good("username and groups", with("username: admin\ngroups: [platform-admins, 'team:a']")),
        good(
            "every placeholder",
            with("username: 'a:{{SessionName}}:{{SessionNameRaw}}:{{AccountID}}:{{AccessKeyID}}:{{EC2PrivateDNSName}}'\ngroups: ['t-{{SessionName}}']"),
        ),
        good("a placeholder in a third brace", with("username: '{{{SessionName}}}'")),
        good("single braces", with("username: '{a}'")),
        good("a username of 256", with(&format!("username: {}", "u".repeat(256)))),
        good("letters of any script", with("username: 'j\u{f6}rg \u{5f20}'")),
        good("fifty groups", with(&format!("groups: {}", numbered("g", 50)))),
        good(
            "reserved prefixes where aws-auth may take them",
            with("username: 'system:x'\ngroups: ['system:masters', 'eks:x']"),
        ),
        good("an end in the past", with("validUntil: '2020-01-01T00:00:00Z'")),
        good("an end on a leap day", with("validUntil: '2028-02-29T23:59:59.123456789Z'")),
        good("the last end", with("validUntil: '2999-12-31T23:59:59Z'")),
        good("an end with an offset", with("validUntil: '2026-12-24T18:00:00+01:00'")),
        good(
            "every other field",
            with("backend: ConfigMap\nadoption: Always\ndeletion: Retain\nsuspend: true\ntype: Standard"),
        ),
        bad("an empty username", with("username: ''"), USER, "is empty: write a username, or remove the field"),
        bad("a blank username", with("username: '  '"), USER, "is empty"),
        bad("a tab in a username", with("username: \"a\\tb\""), USER, "contains a control character"),
        bad("a line break in a username", with("username: \"a\\nb\""), USER, "contains a control character"),
        bad("a control character of Latin-1", with("username: \"a\\x85b\""), USER, "contains a control character"),
        bad(
            "the operator's own prefix",
            with("username: 'identity-mapper:x'"),
            USER,
            "begins with identity-mapper:, which is reserved",
        ),
        bad(
            "an unknown placeholder",
            with("username: 'a:{{Session}}'"),
            USER,
            "contains an unknown placeholder: write {{accountid}}",
        ),
        bad(
            "a placeholder with spaces",
            with("username: 'a:{{ SessionName }}'"),
            USER,
            "contains an unknown placeholder",
        ),
        bad("a placeholder in lower case", with("username: 'a:{{sessionname}}'"), USER, "spelled exactly like this"),
        bad(
            "a placeholder that nothing closes",
            with("username: 'a:{{SessionName'"),
            USER,
            "contains an unknown placeholder",
        ),
        bad(
            "a username of 257",
            with(&format!("username: {}", "u".repeat(257))),
            USER,
            "too long: may not be more than 256",
        ),
        bad("a word that YAML takes for true", with("username: true"), USER, "must be of type string"),
        bad("an empty group", with("groups: [a, '']"), GROUPS, "contains an empty group"),
        bad(
            "a group with a line break",
            with("groups: [a, \"b\\nc\"]"),
            GROUPS,
            "contains a group with a control character",
        ),
        bad(
            "the bridge's group",
            with("groups: [a, 'identity-mapper:bridge']"),
            GROUPS,
            "group 'identity-mapper:bridge' begins with identity-mapper:",
        ),
        bad(
            "an unknown placeholder in a group",
            with("groups: [a, 'b-{{UserName}}']"),
            GROUPS,
            "group 'b-{{username}}' contains an unknown placeholder",
        ),
        bad("a group twice", with("groups: [a, b, a]"), "spec.groups[2]", "duplicate value"),
        bad(
            "a group of 257",
            with(&format!("groups: [{}]", "g".repeat(257))),
            "spec.groups[0]",
            "too long: may not be more than 256",
        ),
        bad(
            "fifty-one groups",
            with(&format!("groups: {}", numbered("g", 51))),
            GROUPS,
            "too many: 51: must have at most 50 items",
        ),
        bad("a group for a list", with("groups: admins"), GROUPS, "must be of type array"),
        bad("an end that is no time", with("validUntil: tomorrow"), UNTIL, "is not a time: write a valid date"),
        bad("an end without a zone", with("validUntil: '2026-12-24T18:00:00'"), UNTIL, "is not a time"),
        bad("an end in a zone that does not exist", with("validUntil: '2026-12-24T18:00:00+99:99'"), UNTIL, "is not a time"),
        bad("an end on a day that does not exist", with("validUntil: '2026-02-29T18:00:00Z'"), UNTIL, "write a valid date"),
        bad("an end finer than a nanosecond", with("validUntil: '2026-02-28T18:00:00.1234567891Z'"), UNTIL, "is not a time"),
        bad("an end with a line break", with("validUntil: \"2026-02-28T18:00:00Z\\n\""), UNTIL, "is not a time"),
        bad("the last second of 9999", with("validUntil: '9999-12-31T23:59:59Z'"), UNTIL, "is not in the years 2000 to 2999: write"),
        bad("an end in the year 1", with("validUntil: '0001-01-01T00:00:00Z'"), UNTIL, "is not in the years 2000 to 2999"),
        bad("an end of 65 characters", with(&format!("validUntil: '{}'", "2".repeat(65))), UNTIL, "too long"),
        bad("an unknown adoption", with("adoption: Sometimes"), "spec.adoption", "unsupported value"),
        bad("an unknown deletion", with("deletion: Delete"), "spec.deletion", "unsupported value"),
        bad("a word for suspend", with("suspend: 'yes'"), "spec.suspend", "must be of type boolean"),
        bad("a misspelt field of the spec", with("group: [a]"), "spec.group", "unknown field"),
        Case {
            name: "several things at once",
            spec: "principal: {arn: Admin}\nusername: ''\ngroups: ['']".to_owned(),
            wrong: vec![(GROUPS, "contains an empty group"), ("spec.principal.arn", "is not an arn"), (USER, "is empty")],
        },
    ]
}

fn policies() -> Vec<Case> {
    const POLICY: &str = "spec.accessPolicies[0].policy";
    const SCOPE: &str = "spec.accessPolicies[0].scope";
    let policies = |items: &str| with(&format!("accessPolicies: [{items}]"));
    let twenty_one: Vec<String> = (0..21).map(|number| format!("{{policy: P{number}}}")).collect();
    vec![
        good("a policy", policies("{policy: AmazonEKSViewPolicy}")),
        good("a policy in the cluster", policies("{policy: AmazonEKSViewPolicy, scope: {type: Cluster}}")),
        good(
            "a policy in namespaces",
            policies("{policy: AmazonEKSViewPolicy, scope: {type: Namespace, namespaces: [team-a, 'dev-*']}}"),
        ),
        good(
            "a policy with aws-auth, which conditions report",
            with("backend: ConfigMap\naccessPolicies: [{policy: AmazonEKSViewPolicy}]"),
        ),
        bad(
            "a policy's ARN",
            policies("{policy: 'arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy'}"),
            POLICY,
            "is an arn: write the policy's name alone, 'amazoneksviewpolicy'",
        ),
        bad("an empty policy", policies("{policy: ''}"), POLICY, "is not the name of an access policy"),
        bad(
            "a policy with a space",
            policies("{policy: 'Amazon View'}"),
            POLICY,
            "is not the name of an access policy",
        ),
        bad("a scope without policy", policies("{scope: {type: Cluster}}"), POLICY, "required value"),
        bad(
            "a policy twice",
            policies("{policy: A}, {policy: B}, {policy: A}"),
            "spec.accessPolicies[2]",
            "duplicate value",
        ),
        bad(
            "twenty-one policies",
            policies(&twenty_one.join(", ")),
            "spec.accessPolicies",
            "too many: 21: must have at most 20 items",
        ),
        bad(
            "Namespace without namespaces",
            policies("{policy: A, scope: {type: Namespace}}"),
            SCOPE,
            "no namespaces: write at least one, or type cluster",
        ),
        bad(
            "no namespaces",
            policies("{policy: A, scope: {type: Namespace, namespaces: []}}"),
            SCOPE,
            "no namespaces",
        ),
        bad(
            "Cluster with namespaces",
            policies("{policy: A, scope: {type: Cluster, namespaces: [a]}}"),
            SCOPE,
            "has type cluster and namespaces",
        ),
        bad(
            "namespaces without type",
            policies("{policy: A, scope: {namespaces: [a]}}"),
            SCOPE,
            "write type namespace, or remove the namespaces",
        ),
        bad(
            "a namespace that can't be",
            policies("{policy: A, scope: {type: Namespace, namespaces: [a, Team_A]}}"),
            "spec.accessPolicies[0].scope.namespaces",
            "'team_a' is not a namespace",
        ),
        bad(
            "a namespace with a line break",
            policies("{policy: A, scope: {type: Namespace, namespaces: [\"a\\nb\"]}}"),
            "spec.accessPolicies[0].scope.namespaces",
            "contains a namespace with a control character",
        ),
        bad(
            "a namespace twice",
            policies("{policy: A, scope: {type: Namespace, namespaces: [a, a]}}"),
            "spec.accessPolicies[0].scope.namespaces[1]",
            "duplicate value",
        ),
        bad(
            "fifty-one namespaces",
            policies(&format!("{{policy: A, scope: {{type: Namespace, namespaces: {}}}}}", numbered("n", 51))),
            "spec.accessPolicies[0].scope.namespaces",
            "too many: 51: must have at most 50 items",
        ),
        bad(
            "an unknown scope",
            policies("{policy: A, scope: {type: namespace}}"),
            "spec.accessPolicies[0].scope.type",
            "unsupported value",
        ),
    ]
}

fn nodes() -> Vec<Case> {
    vec![
        good("Linux nodes", with("type: EC2Linux")),
        good("Windows nodes in aws-auth", with("type: EC2Windows\nbackend: ConfigMap")),
        good("Fargate", with("type: FargateLinux\ngroups: []")),
        good("hybrid nodes", with("type: HybridLinux\nbackend: AccessEntry")),
        good("Auto Mode with a policy", with("type: EC2\naccessPolicies: [{policy: AmazonEKSAutoNodePolicy}]")),
        good("HyperPod", with("type: HyperPodLinux")),
        bad("a type in EKS' spelling", with("type: EC2_LINUX"), "spec.type", "unsupported value"),
        bad(
            "nodes with a username",
            with("type: EC2Linux\nusername: node"),
            "spec.username",
            "type ec2linux takes no username",
        ),
        bad(
            "nodes with groups",
            with("type: FargateLinux\ngroups: [a]"),
            "spec.groups",
            "type fargatelinux takes no groups",
        ),
        bad("Auto Mode with groups", with("type: EC2\ngroups: [a]"), "spec.groups", "type ec2 takes no groups"),
        bad(
            "nodes with policies",
            with("type: HyperPodLinux\naccessPolicies: [{policy: A}]"),
            "spec.accessPolicies",
            "type hyperpodlinux takes no access policies",
        ),
        bad(
            "nodes that are a user",
            "principal: {arn: 'arn:aws:iam::111122223333:user/bob'}\ntype: EC2Linux",
            "spec.principal.arn",
            "type ec2linux is for node roles, and this is a user",
        ),
        bad(
            "nodes that are a permission set",
            "principal: {permissionSet: {name: Admin, accountId: '111122223333'}}\ntype: EC2Windows",
            "spec.principal.permissionSet",
            "and a permission set is for people",
        ),
        bad(
            "hybrid nodes in aws-auth",
            with("type: HybridLinux\nbackend: ConfigMap"),
            "spec.backend",
            "type hybridlinux exists only as an access entry",
        ),
        bad(
            "Auto Mode in aws-auth",
            with("type: EC2\nbackend: ConfigMap"),
            "spec.backend",
            "type ec2 exists only as an access entry",
        ),
        bad(
            "HyperPod in aws-auth",
            with("type: HyperPodLinux\nbackend: ConfigMap"),
            "spec.backend",
            "write backend accessentry or auto",
        ),
        Case {
            name: "nodes with everything",
            spec: "principal: {arn: 'arn:aws:iam::111122223333:user/bob'}\ntype: EC2Linux\nusername: a\ngroups: [a]".to_owned(),
            wrong: vec![("spec.groups", "takes no groups"), ("spec.principal.arn", "this is a user"), ("spec.username", "takes no username")],
        },
    ]
}

fn backends() -> Vec<Case> {
    let entry = |fields: &str| with(&format!("backend: AccessEntry\n{fields}"));
    vec![
        good("an access entry", entry("username: 'sso:{{SessionName}}'\ngroups: [a]")),
        good("system:masters, which becomes a policy", entry("groups: [a, 'system:masters']")),
        good(
            "names that only begin like a prefix",
            entry("username: systemx\ngroups: [system, 'sts:x', 'a:system:x']"),
        ),
        good("a colon anywhere before", entry("username: 'a:b{{SessionNameRaw}}'")),
        good("another placeholder without a colon", entry("username: '{{AccountID}}'")),
        good("no colon where aws-auth may take it", with("username: '{{SessionName}}'")),
        good(
            "a service-linked role in aws-auth",
            arn("arn:aws:iam::111122223333:role/AWSServiceRoleForAmazonEMRContainers"),
        ),
        good(
            "a path that only looks service-linked",
            "principal: {arn: 'arn:aws:iam::111122223333:role/a/aws-service-role/Admin'}\nbackend: AccessEntry",
        ),
        bad("an unknown backend", with("backend: Both"), "spec.backend", "unsupported value"),
        bad(
            "system: in a username",
            entry("username: 'system:x'"),
            "spec.username",
            "begins with system:, eks:, aws:, amazon: or iam:, which eks refuses",
        ),
        bad(
            "iam: in a username",
            entry("username: 'iam:x'"),
            "spec.username",
            "choose another name, or write backend configmap",
        ),
        bad(
            "another system: group",
            entry("groups: ['system:masters', 'system:nodes']"),
            "spec.groups",
            "group 'system:nodes' has a prefix that eks refuses",
        ),
        bad("an amazon: group", entry("groups: ['amazon:x']"), "spec.groups", "group 'amazon:x' has a prefix"),
        bad(
            "a session without a colon",
            entry("username: 'john{{SessionName}}'"),
            "spec.username",
            "without a colon before it",
        ),
        bad(
            "a raw session without a colon",
            entry("username: '{{SessionNameRaw}}:x'"),
            "spec.username",
            "such as sso:{{sessionname}}",
        ),
        bad(
            "a service-linked role",
            "principal: {arn: 'arn:aws:iam::111122223333:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch'}\nbackend: AccessEntry",
            "spec.principal.arn",
            "is a service-linked role",
        ),
        bad(
            "a service-linked role without its path",
            "principal: {arn: 'arn:aws:iam::111122223333:role/AWSServiceRoleForBatch'}\nbackend: AccessEntry",
            "spec.principal.arn",
            "for which eks refuses access entries: write backend configmap",
        ),
    ]
}
