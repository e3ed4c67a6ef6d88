//! The finalizers that keep a deleted mapping until its entries are removed: one for each backend.
//!
//! Each is set before the first write to its backend, and comes off once nothing that is managed for the mapping is left there.
//! [`Finalizer::Earlier`] is the one of versions that had a single one: it means both until it is replaced.

use super::v1alpha1::Backend;

/// One of our finalizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finalizer {
    /// Until no managed entry is in aws-auth.
    AwsAuth,
    /// Until no managed access entry exists.
    AccessEntry,
    /// Both: what versions before the two set.
    Earlier,
}

impl Finalizer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AwsAuth, Self::AccessEntry, Self::Earlier];

    /// The name in `metadata.finalizers`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwsAuth => "identity-mapper.dev/aws-auth",
            Self::AccessEntry => "identity-mapper.dev/access-entry",
            Self::Earlier => "identity-mapper.dev/revoke",
        }
    }

    /// The finalizer of a backend.
    #[must_use]
    pub const fn of(backend: Backend) -> Self {
        match backend {
            Backend::ConfigMap => Self::AwsAuth,
            Backend::AccessEntry => Self::AccessEntry,
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::AwsAuth => 1,
            Self::AccessEntry => 2,
            Self::Earlier => 4,
        }
    }
}

/// A set of our finalizers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finalizers(u8);

impl Finalizers {
    /// Those of both backends.
    pub const BOTH: Self = Self(Finalizer::AwsAuth.bit() | Finalizer::AccessEntry.bit());

    /// Ours among the finalizers of an object.
    #[must_use]
    pub fn among(names: &[String]) -> Self {
        Finalizer::ALL
            .into_iter()
            .filter(|ours| names.iter().any(|name| name == ours.as_str()))
            .collect()
    }

    /// Whether this one is in the set.
    #[must_use]
    pub const fn contains(self, finalizer: Finalizer) -> bool {
        self.0 & finalizer.bit() != 0
    }

    /// Whether the mapping waits for its entry in this backend.
    #[must_use]
    pub const fn keeps(self, backend: Backend) -> bool {
        self.contains(Finalizer::of(backend)) || self.contains(Finalizer::Earlier)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// With those of the other set.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Without those of the other set.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// In the order in which they are set.
    pub fn iter(self) -> impl Iterator<Item = Finalizer> {
        Finalizer::ALL
            .into_iter()
            .filter(move |finalizer| self.contains(*finalizer))
    }
}

impl From<Finalizer> for Finalizers {
    fn from(finalizer: Finalizer) -> Self {
        Self(finalizer.bit())
    }
}

impl FromIterator<Finalizer> for Finalizers {
    fn from_iter<I: IntoIterator<Item = Finalizer>>(finalizers: I) -> Self {
        finalizers
            .into_iter()
            .fold(Self::default(), |all, finalizer| all.with(finalizer.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_former_finalizer_means_both_backends() {
        let earlier = Finalizers::from(Finalizer::Earlier);
        for backend in [Backend::ConfigMap, Backend::AccessEntry] {
            assert!(earlier.keeps(backend) && Finalizers::BOTH.keeps(backend));
            assert!(!Finalizers::default().keeps(backend));
        }
        assert!(!Finalizers::from(Finalizer::AwsAuth).keeps(Backend::AccessEntry));
        let names: Vec<String> = ["other", "identity-mapper.dev/access-entry"]
            .map(str::to_owned)
            .into();
        assert_eq!(Finalizers::among(&names), Finalizer::AccessEntry.into());
        assert_eq!(
            Finalizers::BOTH.without(Finalizer::AwsAuth.into()),
            Finalizer::AccessEntry.into()
        );
    }
}
