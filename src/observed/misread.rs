//! Misinterprets calls in flight on purpose, to show that tests notice. Only in test builds.

use std::cell::Cell;
use std::sync::LazyLock;

use crate::access_entry::Possible;

/// How what is not certain is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misread {
    /// As an entry that is gone.
    AsGone,
    /// As the entry that was there last.
    AsStaying,
}

/// The environment variable that names what is broken on purpose in a whole run of the tests.
pub(crate) const MUTATION: &str = "IDENTITY_MAPPER_MUTATION";

thread_local! {
    static HOW: Cell<Option<Misread>> = const { Cell::new(None) };
}

/// What may be, as it is read in this thread.
pub(super) fn read(mut possible: Possible) -> Possible {
    let uncertain = possible.may_exist() && possible.certain().is_none();
    match HOW.get().or_else(of_process).filter(|_| uncertain) {
        None => possible,
        Some(Misread::AsGone) => Possible::none(),
        Some(Misread::AsStaying) => {
            possible.absent = false;
            possible.unseen &= possible.entries.is_empty();
            possible.entries.truncate(1);
            possible
        }
    }
}

/// How the whole run of the tests misreads.
fn of_process() -> Option<Misread> {
    static NAME: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(MUTATION).ok());
    let name = NAME.as_deref()?;
    [Misread::AsGone, Misread::AsStaying]
        .into_iter()
        .find(|how| format!("{how:?}") == name)
}

/// Runs something that misreads.
pub(crate) fn misreading<T>(how: Misread, run: impl FnOnce() -> T) -> T {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            HOW.set(None);
        }
    }
    HOW.set(Some(how));
    let _back = Back;
    run()
}
