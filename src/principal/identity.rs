//! Kubernetes usernames and groups as they are written: with the authenticator's placeholders.
//!
//! The authenticator replaces placeholders by plain text search, in usernames and groups alike
//! (`pkg/server/server.go`, `renderTemplate`): it knows five, exactly as they are spelt, and leaves any other braces
//! as they stand. An unknown one would become part of the name, which nobody means, so it is refused here.

use std::fmt;

/// The prefix that the operator keeps for itself (the bridge group of a handover).
pub const RESERVED_PREFIX: &str = "identity-mapper:";

/// A Kubernetes username, perhaps with placeholders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(String);

/// A Kubernetes group, perhaps with placeholders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(String);

/// What the authenticator puts into a username or group at each login.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Placeholder {
    /// `{{AccountID}}`: the caller's account.
    AccountId,
    /// `{{SessionName}}`: the session's name with `@` replaced by `-`; empty for a user.
    SessionName,
    /// `{{SessionNameRaw}}`: the session's name as it is; empty for a user.
    SessionNameRaw,
    /// `{{AccessKeyID}}`: the access key that signed the request.
    AccessKeyId,
    /// `{{EC2PrivateDNSName}}`: the private DNS name of the instance that the session is named after.
    Ec2PrivateDnsName,
    /// Anything else between `{{` and `}}`, or after a `{{` that nothing closes.
    Unknown(String),
}

/// The placeholders that the authenticator knows, as they are spelt.
const KNOWN: [(&str, Placeholder); 5] = [
    ("{{AccountID}}", Placeholder::AccountId),
    ("{{SessionName}}", Placeholder::SessionName),
    ("{{SessionNameRaw}}", Placeholder::SessionNameRaw),
    ("{{AccessKeyID}}", Placeholder::AccessKeyId),
    ("{{EC2PrivateDNSName}}", Placeholder::Ec2PrivateDnsName),
];

/// Why a text can't be a username or group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Nothing, or only white space: Kubernetes treats an empty username as no username.
    #[error("must not be empty")]
    Empty,
    /// A control character, such as a line break or tab.
    #[error("{value:?} holds the control character U+{:04X} at character {position}: remove it", u32::from(*.character))]
    ControlCharacter {
        /// The whole text.
        value: String,
        /// The character.
        character: char,
        /// Its place, counted in characters from 1.
        position: usize,
    },
    /// The prefix that is ours.
    #[error("{value:?} begins with {RESERVED_PREFIX:?}, which is reserved: choose another name")]
    ReservedPrefix {
        /// The whole text.
        value: String,
    },
    /// A placeholder that the authenticator would leave as it is.
    #[error(
        "{value:?} has the unknown placeholder {placeholder:?}: expected {{{{AccountID}}}}, {{{{SessionName}}}}, \
         {{{{SessionNameRaw}}}}, {{{{AccessKeyID}}}} or {{{{EC2PrivateDNSName}}}}, spelled exactly like this"
    )]
    UnknownPlaceholder {
        /// The whole text.
        value: String,
        /// What is between the braces.
        placeholder: String,
    },
}

impl Username {
    /// Checks a username.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The text as it is written, placeholders included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it differs from login to login.
    #[must_use]
    pub fn is_templated(&self) -> bool {
        !self.placeholders().is_empty()
    }

    /// Its placeholders, in order.
    #[must_use]
    pub fn placeholders(&self) -> Vec<Placeholder> {
        placeholders(&self.0)
    }
}

impl Group {
    /// Checks a group.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The text as it is written, placeholders included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it differs from login to login.
    #[must_use]
    pub fn is_templated(&self) -> bool {
        !self.placeholders().is_empty()
    }

    /// Its placeholders, in order.
    #[must_use]
    pub fn placeholders(&self) -> Vec<Placeholder> {
        placeholders(&self.0)
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(text: &str) -> Result<(), IdentityError> {
    let value = || text.to_owned();
    if text.trim().is_empty() {
        return Err(IdentityError::Empty);
    }
    if let Some((index, character)) = text.chars().enumerate().find(|(_, c)| c.is_control()) {
        return Err(IdentityError::ControlCharacter {
            value: value(),
            character,
            position: index + 1,
        });
    }
    if text.starts_with(RESERVED_PREFIX) {
        return Err(IdentityError::ReservedPrefix { value: value() });
    }
    let unknown = placeholders(text)
        .into_iter()
        .find_map(|placeholder| match placeholder {
            Placeholder::Unknown(name) => Some(name),
            Placeholder::AccountId
            | Placeholder::SessionName
            | Placeholder::SessionNameRaw
            | Placeholder::AccessKeyId
            | Placeholder::Ec2PrivateDnsName => None,
        });
    match unknown {
        Some(placeholder) => Err(IdentityError::UnknownPlaceholder {
            value: value(),
            placeholder,
        }),
        None => Ok(()),
    }
}

fn placeholders(text: &str) -> Vec<Placeholder> {
    let known = |text: &str| {
        KNOWN
            .iter()
            .find(|(spelling, _)| text.starts_with(spelling))
    };
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        rest = &rest[start..];
        if let Some((spelling, placeholder)) = known(rest) {
            found.push(placeholder.clone());
            rest = &rest[spelling.len()..];
        } else if known(&rest[1..]).is_some() {
            // A single brace before a placeholder, as in `{{{SessionName}}}`: replaced all the same.
            rest = &rest[1..];
        } else {
            let inner = &rest[2..];
            let end = inner.find("}}").unwrap_or(inner.len());
            found.push(Placeholder::Unknown(inner[..end].to_owned()));
            rest = inner[end..].strip_prefix("}}").unwrap_or_default();
        }
    }
    found
}
