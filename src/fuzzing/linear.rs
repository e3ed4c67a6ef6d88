//! Whether the time that a text takes grows as its length does.

use std::time::Duration;

/// The shorter of the two texts that are compared has about so many bytes.
const SIZE: usize = 16 * 1024;
/// The longer one has so many times the bytes.
const TIMES: u16 = 4;
/// It may take so many times as long: memory that grows, and caches that it does not fit in, cost something.
const SLACK: u32 = 10;
/// What takes less is not worth a comparison.
const SHORT: Duration = Duration::from_millis(60);

/// One text in so many is asked: that takes a thousand times as long as the text itself.
const ONE_IN: u64 = 64;

/// Repeats a part of the text, and compares the processor's time for few and for many repetitions. The text itself says which part, and
/// whether it is asked at all, so that a failure can be shown again.
pub(super) fn assert_linear(text: &str, what: &str, run: impl Fn(&str)) {
    let seed = hash(text);
    if !seed.is_multiple_of(ONE_IN) || text.is_empty() {
        return;
    }
    let bound = |wanted: u64| {
        let at = usize::try_from(wanted).unwrap_or_default() % (text.len() + 1);
        text.floor_char_boundary(at)
    };
    let (one, other) = (bound(seed >> 8), bound(seed >> 32));
    let (from, to) = if one == other {
        (0, text.len())
    } else {
        (one.min(other), one.max(other))
    };
    let (before, part, after) = (&text[..from], &text[from..to], &text[to..]);
    let grown = |size: usize| format!("{before}{}{after}", part.repeat(size / part.len() + 1));
    assert_linear_in_size(
        &format!("{what}, {part:?} repeated between {before:?} and {after:?},"),
        grown,
        run,
    );
}

/// So often it may take long because others use the processor's caches.
const TRIES: usize = 5;

/// Compares the processor's time for two texts of which one is a multiple of the other.
pub(crate) fn assert_linear_in_size(
    what: &str,
    grown: impl Fn(usize) -> String,
    run: impl Fn(&str),
) {
    let (short, long) = (grown(SIZE), grown(SIZE * usize::from(TIMES)));
    let time = |text: &str| {
        let before = processor_time()?;
        run(text);
        processor_time()?.checked_sub(before)
    };
    let mut taken = Vec::new();
    for _ in 0..TRIES {
        let (Some(brief), Some(lasting)) = (time(&short), time(&long)) else {
            return;
        };
        if lasting < SHORT || lasting < brief * SLACK {
            return;
        }
        taken.push((brief, lasting));
    }
    panic!(
        "{what} takes so long for {} and for {} bytes: {taken:?}",
        short.len(),
        long.len()
    );
}

/// The time that this thread has run: other processes on the machine do not count. `None` where the system is not Linux.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
