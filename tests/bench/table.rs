//! Measurements, and the table that shows them.

use std::time::Duration;
use std::{fmt, fs};

/// Rows of a Markdown table.
#[derive(Default)]
pub(crate) struct Table(Vec<[String; 2]>);

impl Table {
    /// Adds a row.
    pub(crate) fn row(&mut self, what: impl Into<String>, value: impl fmt::Display) {
        self.0.push([what.into(), value.to_string()]);
    }

    /// Prints it under a title.
    pub(crate) fn print(&self, title: &str) {
        let width = |column: usize| {
            let cells = self.0.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or_default().max(8)
        };
        let (left, right) = (width(0), width(1));
        println!("\n{title}\n");
        println!("| {:left$} | {:>right$} |", "what", "measured");
        println!("|{}|{}:|", "-".repeat(left + 2), "-".repeat(right + 1));
        for [what, value] in &self.0 {
            println!("| {what:left$} | {value:>right$} |");
        }
    }
}

/// A duration as people read it.
pub(crate) struct Human(pub(crate) Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        match seconds {
            s if s < 0.001 => write!(f, "{:.0} µs", s * 1e6),
            s if s < 0.01 => write!(f, "{:.1} ms", s * 1e3),
            s if s < 1.0 => write!(f, "{:.0} ms", s * 1e3),
            s => write!(f, "{s:.1} s"),
        }
    }
}

/// Measured durations, sorted.
pub(crate) struct Sample(Vec<Duration>);

impl FromIterator<Duration> for Sample {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut sorted: Vec<Duration> = durations.into_iter().collect();
        sorted.sort_unstable();
        assert!(!sorted.is_empty(), "something was measured");
        Self(sorted)
    }
}

impl Sample {
    /// The least duration that `percent` of the sample do not exceed (the nearest-rank method).
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0[rank - 1]
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (half, most) = (self.percentile(50), self.percentile(99));
        write!(f, "p50 {}, p99 {}", Human(half), Human(most))
    }
}

/// The processor's time that `work` takes, on average of so many runs that they take half a second, and of at least five.
/// What else the machine does at the same time counts little.
pub(crate) fn cost<T>(mut work: impl FnMut() -> T) -> Duration {
    let begun = processor_time();
    let mut runs = 0;
    loop {
        std::hint::black_box(work());
        runs += 1;
        // The kernel counts in ticks of some milliseconds.
        let taken = processor_time().saturating_sub(begun);
        if runs >= 5 && taken > Duration::from_millis(500) {
            return taken / runs;
        }
    }
}

/// The time that this thread has spent on a processor (the first field, in nanoseconds:
/// <https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat>).
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts time");
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

/// The time that children of this process that have ended have spent on a processor (fields 16 and 17 of
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>, in hundredths of a second).
pub(crate) fn children_time() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").expect("Linux counts time");
    let (_, fields) = text.rsplit_once(") ").expect("the name in parentheses");
    let ticks = fields.split(' ').skip(13).take(2);
    let ticks = ticks.map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
