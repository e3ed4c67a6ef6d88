//! The caller: an ARN of IAM or STS, as the authenticator resolves it.

use crate::effective::EffectiveEntry;
use crate::principal::{Arn, ArnError, Key, Principal, Resource, canonical_caller};

/// What EC2 names the sessions of instances (`pkg/server/server.go` of aws-iam-authenticator: `^i-(\w{8}|\w{17})$`).
const INSTANCE_DIGITS: [usize; 2] = [8, 17];

const SESSION: &str = "{{SessionName}}";
const SESSION_RAW: &str = "{{SessionNameRaw}}";
const ACCOUNT: &str = "{{AccountID}}";
const DNS_NAME: &str = "{{EC2PrivateDNSName}}";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The ARN as it was given.
    pub(crate) arn: String,
    /// The ARN under which the authenticator looks the caller up.
    pub(crate) canonical: String,
    /// The principal; `None` for the root user and federated users, whom access entries do not accept.
    pub(crate) key: Option<Key>,
    /// The session's name: known for the ARN of a session, empty for who has none, `None` for a role without one.
    pub(crate) session: Option<String>,
    pub(crate) parsed: Arn,
}

/// Why an ARN is no caller's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{arn}: {error}")]
pub(crate) struct CallerError {
    /// The ARN as it was given.
    pub(crate) arn: String,
    pub(crate) error: ArnError,
}

impl Caller {
    /// Reads an ARN: of a role (with or without its path), of a user, of a session, of a federated user or the root user.
    pub(crate) fn parse(arn: &str) -> Result<Self, CallerError> {
        let wrong = |error| CallerError {
            arn: arn.to_owned(),
            error,
        };
        let parsed: Arn = arn.parse().map_err(wrong)?;
        let (canonical, session) = match &parsed.resource {
            Resource::Role { .. } => {
                let role = Principal::try_from(parsed.clone());
                (
                    role.map_or_else(|_| arn.to_owned(), |role| role.aws_auth_arn()),
                    None,
                )
            }
            Resource::AssumedRole { session, .. } => {
                (canonical_caller(arn).map_err(wrong)?, Some(session.clone()))
            }
            Resource::User { .. } | Resource::FederatedUser { .. } | Resource::Root => {
                (arn.to_owned(), Some(String::new()))
            }
        };
        Ok(Self {
            arn: arn.to_owned(),
            key: Key::parse_arn(&canonical),
            canonical,
            session,
            parsed,
        })
    }

    /// The name of the role or user, spelt as it was given.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        match &self.parsed.resource {
            Resource::Role { name, .. }
            | Resource::User { name, .. }
            | Resource::AssumedRole { role: name, .. }
            | Resource::FederatedUser { name } => name,
            Resource::Root => "root",
        }
    }

    /// A username or group as the authenticator fills it in (`pkg/server/server.go`, `renderTemplate`). What is not known stays as it
    /// is written: a session's name where only the role is known, the access key, the name of an instance.
    #[must_use]
    pub(crate) fn render(&self, template: &str) -> String {
        let mut text = template.replace(ACCOUNT, self.parsed.account.as_str());
        if let Some(session) = &self.session {
            text = text
                .replace(SESSION, &session.replace('@', "-"))
                .replace(SESSION_RAW, session);
        }
        text
    }

    /// An effective entry with its placeholders filled in, as far as they are known.
    #[must_use]
    pub(crate) fn filled(&self, entry: &EffectiveEntry) -> EffectiveEntry {
        EffectiveEntry {
            username: self.render(&entry.username),
            groups: entry
                .groups
                .iter()
                .map(|group| self.render(group))
                .collect(),
            ..entry.clone()
        }
    }

    /// Whether a login fails because the template asks for an instance's name, and the session is none of an instance.
    #[must_use]
    pub(crate) fn lacks_instance(&self, template: &str) -> bool {
        template.contains(DNS_NAME) && self.session.as_deref().is_some_and(|it| !is_instance(it))
    }
}

fn is_instance(session: &str) -> bool {
    session.strip_prefix("i-").is_some_and(|digits| {
        INSTANCE_DIGITS.contains(&digits.len())
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_and_what_is_filled_in_for_them() {
        let template = "{{AccountID}}:{{SessionName}}:{{SessionNameRaw}}:{{AccessKeyID}}";
        for (arn, canonical, rendered) in [
            (
                "arn:aws:sts::111122223333:assumed-role/Dev/a@b.com",
                "arn:aws:iam::111122223333:role/Dev",
                "111122223333:a-b.com:a@b.com:{{AccessKeyID}}",
            ),
            (
                "arn:aws:iam::111122223333:role/team/Dev",
                "arn:aws:iam::111122223333:role/Dev",
                "111122223333:{{SessionName}}:{{SessionNameRaw}}:{{AccessKeyID}}",
            ),
            (
                "arn:aws:iam::111122223333:user/team/ann",
                "arn:aws:iam::111122223333:user/team/ann",
                "111122223333:::{{AccessKeyID}}",
            ),
            (
                "arn:aws:iam::111122223333:root",
                "arn:aws:iam::111122223333:root",
                "111122223333:::{{AccessKeyID}}",
            ),
        ] {
            let caller = Caller::parse(arn).expect("a caller");
            assert_eq!(caller.canonical, canonical);
            assert_eq!(caller.render(template), rendered);
        }
        let group = Caller::parse("arn:aws:iam::111122223333:group/admins").expect_err("no caller");
        assert!(group.to_string().contains("IAM group"), "{group}");
    }

    #[test]
    fn only_instances_have_a_private_name() {
        let lacks = |session: &str| {
            let arn = format!("arn:aws:sts::111122223333:assumed-role/Node/{session}");
            let caller = Caller::parse(&arn).expect("a caller");
            caller.lacks_instance("system:node:{{EC2PrivateDNSName}}")
        };
        for session in ["i-01234567", "i-0123456789abcdef0"] {
            assert!(!lacks(session), "{session}");
        }
        for session in ["alice", "i-0123", "i-0123456-", "x-01234567"] {
            assert!(lacks(session), "{session}");
        }
        let role = Caller::parse("arn:aws:iam::111122223333:role/Node").expect("a caller");
        assert!(
            !role.lacks_instance("{{EC2PrivateDNSName}}"),
            "nobody knows"
        );
    }
}
