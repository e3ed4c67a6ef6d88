//! Entries, as `encoding/json` and the authenticator's own validation decode them.
//!
//! `encoding/json` matches field names without regard to case, so that one field can be given twice; the later in byte
//! order is decoded over the earlier, into the same memory. A value of the wrong type leaves the field as it is and is
//! an error, but decoding goes on. `null` leaves a string as it is and clears a list.

use super::decode::{Data, Value, text};
use super::diagnosis::as_seen;
use super::{ProblemCause, Section};
use crate::yaml::{NodeId, almost};

/// What became of one list item.
pub(super) struct Decoded {
    pub(super) arn: String,
    pub(super) username: String,
    pub(super) groups: Vec<String>,
    pub(super) sso: bool,
    /// Values of the wrong type, in document order.
    pub(super) mistyped: Vec<Mistyped>,
    /// Why the authenticator drops the item.
    pub(super) dropped: Option<Dropped>,
    pub(super) fields: Fields,
}

/// The nodes of the fields that count.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) arn: Option<NodeId>,
    pub(super) username: Option<NodeId>,
    pub(super) groups: Option<NodeId>,
    /// One for each item of `groups`.
    pub(super) each_group: Vec<NodeId>,
    /// Keys that the authenticator does not know.
    pub(super) unknown: Vec<NodeId>,
}

/// A value that its field refuses.
pub(super) struct Mistyped {
    pub(super) node: NodeId,
    pub(super) field: &'static str,
    pub(super) cause: ProblemCause,
}

/// Why an item takes no effect.
pub(super) struct Dropped {
    /// The node at fault.
    pub(super) node: NodeId,
    pub(super) cause: ProblemCause,
}

/// What people write for the field with the ARN: the field of the other list, and those of other tools.
const OTHER_ARN_FIELDS: [&str; 20] = [
    "rolearn",
    "userarn",
    "role_arn",
    "role-arn",
    "rolearns",
    "role",
    "user_arn",
    "user-arn",
    "arn",
    "grouparn",
    "principalarn",
    "principal_arn",
    "principal",
    "iamrolearn",
    "iamuserarn",
    "iam_role_arn",
    "iam_user_arn",
    "permissionset",
    "permission_set",
    "permissionsetname",
];

#[derive(Default)]
struct Sso {
    permission_set: String,
    account: String,
    partition: String,
}

/// A slice of Go strings: shortening it leaves the rest in memory, and lengthening it brings the rest back.
#[derive(Default)]
struct Slice {
    memory: Vec<String>,
    len: usize,
}

struct EntryDecoder {
    section: Section,
    arn: String,
    username: String,
    userid: String,
    groups: Slice,
    sso: Option<Sso>,
    sso_node: Option<NodeId>,
    /// The ARN field of the other list.
    other_arn: Option<&'static str>,
    /// A slip of the ARN's field.
    misspelled_arn: Option<String>,
    /// Further fields of other names, each with the one that is meant.
    also: Vec<(String, &'static str)>,
    mistyped: Vec<Mistyped>,
    fields: Fields,
}

/// The field that another name is a slip of, or that other tools call so.
fn meant(name: &str) -> Option<&'static str> {
    let is = |known: &str, others: &[&str]| almost(name, known) || others.contains(&name);
    if is("username", &["user", "name"]) {
        Some("username")
    } else if is("groups", &["kubernetesgroups"]) {
        Some("groups")
    } else {
        None
    }
}

/// Decodes and validates one list item.
pub(super) fn decode(section: Section, item: &Value) -> Decoded {
    let mut decoder = EntryDecoder {
        section,
        arn: String::new(),
        username: String::new(),
        userid: String::new(),
        groups: Slice::default(),
        sso: None,
        sso_node: None,
        other_arn: None,
        misspelled_arn: None,
        also: Vec::new(),
        mistyped: Vec::new(),
        fields: Fields::default(),
    };
    let mut dropped = None;
    let field = decoder.arn_field();
    match &item.data {
        Data::Map(pairs) => decoder.object(pairs),
        Data::Null => {
            dropped = Some(ProblemCause::EmptyItem { field });
        }
        Data::Bool | Data::Number | Data::Str(_) | Data::Seq(_) => {
            let found = item.data.value_type();
            dropped = Some(ProblemCause::NotAnEntry { field, found });
        }
    }
    let dropped = dropped
        .map(|cause| Dropped {
            node: item.node,
            cause,
        })
        .or_else(|| decoder.validate(item));
    decoder.mistyped.sort_by_key(|m| m.node);
    Decoded {
        arn: decoder.arn,
        username: decoder.username,
        sso: decoder.sso.is_some(),
        groups: decoder.groups.into_vec(),
        mistyped: decoder.mistyped,
        dropped,
        fields: decoder.fields,
    }
}

impl EntryDecoder {
    fn arn_field(&self) -> &'static str {
        match self.section {
            Section::Users => "userarn",
            Section::Roles | Section::Accounts => "rolearn",
        }
    }

    fn object(&mut self, pairs: &[(Vec<u8>, NodeId, Value)]) {
        let arn_field = self.arn_field();
        for (name, key, value) in pairs {
            let name = fold_field(&text(name));
            match name.as_str() {
                "username" => {
                    self.fields.username = Some(value.node);
                    string(&mut self.username, "username", value, &mut self.mistyped);
                }
                "userid" => string(&mut self.userid, "userid", value, &mut self.mistyped),
                "groups" => {
                    self.fields.groups = Some(value.node);
                    self.fields.each_group = value.items().map(|item| item.node).collect();
                    self.groups.decode(value, &mut self.mistyped);
                }
                "sso" if self.section == Section::Roles => self.sso(value),
                name if name == arn_field => {
                    self.fields.arn = Some(value.node);
                    string(&mut self.arn, arn_field, value, &mut self.mistyped);
                }
                name => {
                    let other = OTHER_ARN_FIELDS.into_iter().find(|other| *other == name);
                    self.other_arn = self.other_arn.or(other);
                    if other.is_none() && almost(&as_seen(name), arn_field) {
                        self.misspelled_arn.get_or_insert_with(|| name.to_owned());
                    }
                    self.also
                        .extend(meant(name).map(|meant| (name.to_owned(), meant)));
                    self.fields.unknown.push(*key);
                }
            }
        }
    }

    /// `sso` is a pointer to a struct: anything but null makes it point to one.
    fn sso(&mut self, value: &Value) {
        self.sso_node = Some(value.node);
        if matches!(value.data, Data::Null) {
            self.sso = None;
            return;
        }
        let sso = self.sso.get_or_insert_default();
        let Data::Map(pairs) = &value.data else {
            mistyped(&mut self.mistyped, value, "sso", false);
            return;
        };
        for (name, _, value) in pairs {
            match fold_field(&text(name)).as_str() {
                "permissionsetname" => {
                    string(
                        &mut sso.permission_set,
                        "permissionSetName",
                        value,
                        &mut self.mistyped,
                    );
                }
                "accountid" => string(&mut sso.account, "accountID", value, &mut self.mistyped),
                "partition" => string(&mut sso.partition, "partition", value, &mut self.mistyped),
                _ => {}
            }
        }
    }

    /// The authenticator's `Validate` of a role or user mapping.
    fn validate(&self, item: &Value) -> Option<Dropped> {
        let at = |node: NodeId, cause: ProblemCause| Some(Dropped { node, cause });
        let cause_of = |field: &str| self.mistyped.iter().find(|m| m.field == field);
        let sso_node = self.sso_node.unwrap_or(item.node);
        match (&self.sso, self.arn.is_empty()) {
            (None, false) => None,
            (None, true) => {
                let field = self.arn_field();
                let other = self.other_arn;
                if let Some(mistyped) = cause_of(field) {
                    at(mistyped.node, mistyped.cause.clone())
                } else {
                    let also = self.also.clone();
                    let cause = match (&self.misspelled_arn, other) {
                        (Some(written), None) => ProblemCause::MisspelledArn {
                            field,
                            written: written.clone(),
                            also,
                        },
                        (_, other) => ProblemCause::NoArn { field, other, also },
                    };
                    at(item.node, cause)
                }
            }
            (Some(_), false) => at(sso_node, ProblemCause::RolearnAndSso),
            (Some(sso), true) => sso.invalid().and_then(|field| {
                if let Some(mistyped) = cause_of(field) {
                    at(mistyped.node, mistyped.cause.clone())
                } else {
                    at(sso_node, ProblemCause::InvalidSsoField { field })
                }
            }),
        }
    }
}

impl Sso {
    /// The first field that the authenticator refuses.
    fn invalid(&self) -> Option<&'static str> {
        // The partitions of the authenticator's `pkg/endpoints`.
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
        let is_set_byte = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
        if self.account.len() != 12 || !self.account.bytes().all(|b| b.is_ascii_digit()) {
            Some("accountID")
        } else if !(1..=32).contains(&self.permission_set.len())
            || !self.permission_set.bytes().all(is_set_byte)
        {
            Some("permissionSetName")
        } else if !self.partition.is_empty() && !PARTITIONS.contains(&self.partition.as_str()) {
            Some("partition")
        } else {
            None
        }
    }
}

impl Slice {
    fn decode(&mut self, value: &Value, errors: &mut Vec<Mistyped>) {
        let items = match &value.data {
            Data::Seq(items) => items,
            Data::Null => {
                *self = Slice::default();
                return;
            }
            Data::Bool | Data::Number | Data::Str(_) | Data::Map(_) => {
                mistyped(errors, value, "groups", false);
                return;
            }
        };
        for (i, item) in items.iter().enumerate() {
            if i >= self.memory.len() {
                self.memory.push(String::new());
            }
            string(&mut self.memory[i], "groups", item, errors);
        }
        self.len = items.len();
        if items.is_empty() {
            *self = Slice::default();
        }
    }

    fn into_vec(mut self) -> Vec<String> {
        self.memory.truncate(self.len);
        self.memory
    }
}

fn string(field: &mut String, name: &'static str, value: &Value, errors: &mut Vec<Mistyped>) {
    match &value.data {
        Data::Str(bytes) => *field = text(bytes),
        Data::Null => {}
        Data::Bool | Data::Number | Data::Seq(_) | Data::Map(_) => {
            mistyped(errors, value, name, name == "groups");
        }
    }
}

fn mistyped(errors: &mut Vec<Mistyped>, value: &Value, field: &'static str, is_item: bool) {
    let found = value.data.value_type();
    errors.push(Mistyped {
        node: value.node,
        field,
        cause: ProblemCause::Mistyped {
            field,
            found,
            is_item,
        },
    });
}

/// Folds a field name as `encoding/json` does. Only two characters beyond ASCII fold to letters of our field names.
pub(super) fn fold_field(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '\u{17F}' => 's',
            '\u{212A}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}
