//! Reads what is in flight wrongly, to show that tests notice. In test builds only.

use std::cell::Cell;

use crate::access_entry::Possible;

/// How what is not certain is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misread {
    /// As an entry that is gone.
    AsGone,
    /// As the entry that was there last.
    AsStaying,
}

thread_local! {
    static HOW: Cell<Option<Misread>> = const { Cell::new(None) };
}

/// What may be, as it is read in this thread.
pub(super) fn read(mut possible: Possible) -> Possible {
    let uncertain = possible.may_exist() && possible.certain().is_none();
    match HOW.get().filter(|_| uncertain) {
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
