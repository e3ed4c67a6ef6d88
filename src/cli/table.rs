//! Tables that fit the terminal: as kubectl prints them, with the columns that matter least left out and long values shortened.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use terminal_size::{Width, terminal_size_of};

use super::output::visible;
use super::wrap::wrapped;
use crate::principal::{PrincipalNames, middle, short_username, some_of};

/// Between two columns.
const GAP: usize = 2;

/// How tables are printed.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TableArgs {
    /// With tables: leave out the header
    #[arg(long)]
    pub(crate) no_headers: bool,

    /// With tables: sort by this column, named as in the header
    #[arg(long, value_name = "COLUMN")]
    pub(crate) sort_by: Option<String>,
}

/// How a command whose result is a table prints it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// Human-readable, as wide as the terminal
    #[default]
    #[value(alias = "table")]
    Text,
    /// The same with all columns and whole values
    Wide,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
}

/// How wide a table may be, and what of it is printed.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableLayout {
    /// Columns of characters; `None`: any number, as for a file or another program.
    pub(crate) width: Option<usize>,
    /// Whether every value is printed in full, and in its row.
    pub(crate) wide: bool,
    /// Whether the command has no such form: then its document has all values.
    pub(crate) is_only_form: bool,
    pub(crate) args: TableArgs,
}

impl TableLayout {
    /// For standard output. `wide`: whatever the terminal's width.
    pub(crate) fn of_stdout(args: &TableArgs, wide: bool) -> Self {
        Self {
            width: if wide { None } else { terminal_width() },
            wide,
            is_only_form: false,
            args: args.clone(),
        }
    }
}

/// The width that `COLUMNS` gives, or that of the terminal; `None` where there is neither.
pub(super) fn terminal_width() -> Option<usize> {
    let given = std::env::var("COLUMNS").ok();
    let given = given.and_then(|width| width.parse().ok());
    given.or_else(|| {
        let stdout = std::io::stdout();
        let size = stdout.is_terminal().then(|| terminal_size_of(&stdout));
        let (Width(width), _) = size.flatten()?;
        Some(width.into())
    })
}

/// Values are not shortened to fewer characters: what would be left says nothing.
const LEAST: usize = 12;

/// A column. Columns of principals are shortened only where all others have their least width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// The least width to which values are shortened; `None`: they are not.
    least: Option<usize>,
    /// When it is left out: those with the highest number first; 0: never.
    minor: u8,
    /// Whether it is left out before any value is shortened, because other columns say the same.
    redundant: bool,
}

impl Column {
    pub(crate) const fn whole(title: &'static str) -> Self {
        Self {
            title,
            least: None,
            minor: 0,
            redundant: false,
        }
    }

    pub(crate) const fn shortened(title: &'static str, least: usize) -> Self {
        assert!(least >= LEAST, "too little to be read");
        Self {
            least: Some(least),
            ..Self::whole(title)
        }
    }

    pub(crate) const fn minor(self, minor: u8) -> Self {
        Self { minor, ..self }
    }

    pub(crate) const fn redundant(self) -> Self {
        Self {
            minor: u8::MAX,
            redundant: true,
            ..self
        }
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    /// Shortened in the middle.
    Text(String),
    /// An ARN, which has a short name.
    Principal(String),
    /// A Kubernetes username, of which placeholders are shortened first.
    Username(String),
    /// Shortened to the first of them and a count of the others.
    List(Vec<String>),
    /// A word, and the sentence that explains it: below the table, with a number that rows share.
    Noted { word: String, note: String },
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn noted(word: impl Into<String>, note: impl Into<String>) -> Self {
        Self::Noted {
            word: word.into(),
            note: note.into(),
        }
    }

    fn whole(&self) -> String {
        let text = match self {
            Self::Text(text) | Self::Principal(text) | Self::Username(text) => text.clone(),
            Self::List(parts) => parts.join(", "),
            Self::Noted { word, note } if word.is_empty() || note.is_empty() => {
                format!("{word}{note}")
            }
            Self::Noted { word, note } => format!("{word}: {note}"),
        };
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    }

    /// A value that is made visible: others wrote it.
    fn visible(self) -> Self {
        let shown = |text: String| {
            if text.is_empty() {
                text
            } else {
                visible(&text)
            }
        };
        match self {
            Self::Text(text) => Self::Text(shown(text)),
            Self::Principal(arn) => Self::Principal(shown(arn)),
            Self::Username(name) => Self::Username(shown(name)),
            // An empty word of a list is one, and seen as such.
            Self::List(parts) => Self::List(parts.iter().map(|part| visible(part)).collect()),
            Self::Noted { word, note } => Self::Noted {
                word: shown(word),
                note: shown(note),
            },
        }
    }
}

/// How values are spelled in one table.
struct Spelling<'t> {
    names: PrincipalNames,
    /// The sentences below the table, by their number less one; `None`: they are in their rows.
    notes: Option<Vec<&'t str>>,
}

impl Spelling<'_> {
    fn fit(&self, cell: &Cell, width: usize) -> String {
        match (cell, &self.notes) {
            (Cell::Principal(arn), _) if !arn.is_empty() => self.names.fit(arn, width),
            (Cell::Username(name), _) if !name.is_empty() => short_username(name, width),
            (Cell::List(parts), _) if !parts.is_empty() => some_of(parts, width),
            (Cell::Noted { word, note }, Some(notes)) if !note.is_empty() => {
                let number = notes.iter().position(|it| it == note);
                let number = number.map_or_else(String::new, |at| format!("({})", at + 1));
                let word = if word.is_empty() {
                    number
                } else {
                    format!("{word} {number}")
                };
                middle(&word, width)
            }
            _ => middle(&cell.whole(), width),
        }
    }

    fn natural(&self, cell: &Cell) -> usize {
        self.fit(cell, usize::MAX).chars().count()
    }
}

/// Rows under columns.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    names: Option<PrincipalNames>,
}

impl Table {
    pub(crate) fn new<const N: usize>(
        columns: [Column; N],
        rows: impl IntoIterator<Item = [Cell; N]>,
    ) -> Self {
        Self::of(columns.to_vec(), rows.into_iter().map(Vec::from).collect())
    }

    /// Rows with as many values as there are columns.
    pub(crate) fn of(columns: Vec<Column>, rows: Vec<Vec<Cell>>) -> Self {
        let rows = rows.into_iter();
        Self {
            columns,
            rows: rows
                .map(|row| row.into_iter().map(Cell::visible).collect())
                .collect(),
            names: None,
        }
    }

    /// With these names of its principals, which the text around it has too.
    pub(crate) fn named(self, names: PrincipalNames) -> Self {
        Self {
            names: Some(names),
            ..self
        }
    }

    pub(crate) fn render(mut self, layout: &TableLayout) -> Result<String> {
        if let Some(by) = &layout.args.sort_by {
            self.sort(by)?;
        }
        Ok(self.shown(layout))
    }

    /// As wide as standard output, for a command with one form of its table.
    pub(crate) fn fitted(&self) -> String {
        self.shown(&TableLayout::of_stdout(&TableArgs::default(), false))
    }

    fn spelling(&self, layout: &TableLayout) -> Spelling<'_> {
        let names = if layout.wide {
            PrincipalNames::in_full()
        } else {
            self.names.clone().unwrap_or_else(|| {
                let arns = self.rows.iter().flatten().filter_map(|cell| match cell {
                    Cell::Principal(arn) => Some(arn.as_str()),
                    _ => None,
                });
                PrincipalNames::short(arns, None)
            })
        };
        // Who wants rows alone has the sentences in them.
        let is_below = !layout.wide && !layout.args.no_headers;
        Spelling {
            names,
            notes: is_below.then(|| self.notes()),
        }
    }

    /// The sentences of its rows, each once.
    fn notes(&self) -> Vec<&str> {
        let mut notes: Vec<&str> = Vec::new();
        for cell in self.rows.iter().flatten() {
            if let Cell::Noted { note, .. } = cell
                && !note.is_empty()
                && !notes.contains(&note.as_str())
            {
                notes.push(note);
            }
        }
        notes
    }

    fn shown(&self, layout: &TableLayout) -> String {
        let spelling = self.spelling(layout);
        let Fit {
            kept,
            widths,
            left_out,
        } = self.fit(layout.width, &spelling);
        let mut text = String::new();
        if !layout.args.no_headers {
            let titles = kept.iter().map(|at| self.columns[*at].title.to_owned());
            text += &line(titles, &kept, &widths);
        }
        for row in &self.rows {
            let cells = kept.iter().map(|at| spelling.fit(&row[*at], widths[*at]));
            text += &line(cells, &kept, &widths);
        }
        if layout.args.no_headers {
            return text;
        }
        let mut below = String::new();
        for (number, note) in spelling.notes.iter().flatten().enumerate() {
            let number = format!("({}) ", number + 1);
            let next = " ".repeat(number.len());
            below += &wrapped(note, &number, &next, layout.width);
        }
        if let Some(account) = spelling.names.common_account() {
            let _ = writeln!(below, "Principals without an account are in {account}.");
        }
        if !left_out.is_empty() {
            let titles: Vec<&str> = left_out.iter().map(|at| self.columns[*at].title).collect();
            let form = if layout.is_only_form { "json" } else { "wide" };
            let line = format!("-o {form} also shows {}.", titles.join(", "));
            below += &wrapped(&line, "", "", layout.width);
        }
        if !below.is_empty() {
            text.push('\n');
        }
        text + &below
    }

    fn fit(&self, limit: Option<usize>, spelling: &Spelling<'_>) -> Fit {
        let natural: Vec<usize> = (0..self.columns.len())
            .map(|at| self.width(at, spelling))
            .collect();
        let mut fit = Fit {
            kept: (0..self.columns.len()).collect(),
            widths: natural.clone(),
            left_out: Vec::new(),
        };
        let Some(limit) = limit.filter(|limit| fit.total() > *limit) else {
            return fit;
        };
        // Nothing is lost with a column without values.
        let empty = |at: usize| self.rows.iter().all(|row| row[at].whole() == "-");
        fit.kept
            .retain(|at| self.columns[*at].minor == 0 || !empty(*at));
        while fit.total() > limit && self.leave_out(&mut fit, |column| column.redundant) {}
        let least = |at: usize| {
            let column = &self.columns[at];
            let least = column
                .least
                .map_or(natural[at], |least| least.max(column.title.len()));
            let least = least.min(natural[at]);
            if self.is_of_principals(at) {
                let mut wider = least..natural[at];
                let distinct = wider.find(|width| self.is_distinct(at, *width, spelling));
                distinct.unwrap_or(natural[at])
            } else {
                least
            }
        };
        let least: Vec<usize> = (0..self.columns.len()).map(least).collect();
        fit.widths.clone_from(&least);
        while fit.total() > limit && self.leave_out(&mut fit, |column| column.minor > 0) {}
        // Principals have what they need first, up to half a line, then every other value the same.
        self.widen_principals(&mut fit, limit, &natural, limit / 2, spelling);
        while fit.total() < limit {
            let grows = fit
                .kept
                .iter()
                .filter(|at| fit.widths[**at] < natural[**at] && !self.is_of_principals(**at));
            let Some(narrowest) = grows.min_by_key(|at| fit.widths[**at]) else {
                break;
            };
            fit.widths[*narrowest] += 1;
        }
        self.widen_principals(&mut fit, limit, &natural, limit, spelling);
        fit.left_out.sort_unstable();
        fit
    }

    /// Gives principals what is left of a line, in columns of at most `most` characters.
    fn widen_principals(
        &self,
        fit: &mut Fit,
        limit: usize,
        natural: &[usize],
        most: usize,
        spelling: &Spelling<'_>,
    ) {
        for at in fit.kept.clone() {
            if !self.is_of_principals(at) {
                continue;
            }
            let now = fit.widths[at];
            let wider = (now + limit.saturating_sub(fit.total())).min(natural[at]);
            let mut widths = (now..=wider.min(most)).rev();
            let distinct = widths.find(|width| self.is_distinct(at, *width, spelling));
            fit.widths[at] = distinct.unwrap_or(now);
        }
    }

    /// Leaves out the column that matters least of those that may go; `false`: none may.
    fn leave_out(&self, fit: &mut Fit, may: impl Fn(&Column) -> bool) -> bool {
        let minor = fit.kept.iter().enumerate();
        let minor = minor.filter(|(_, at)| may(&self.columns[**at]));
        let Some((place, _)) = minor.max_by_key(|(_, at)| self.columns[**at].minor) else {
            return false;
        };
        let at = fit.kept.remove(place);
        fit.left_out.push(at);
        true
    }

    fn is_of_principals(&self, at: usize) -> bool {
        let mut cells = self.rows.iter().map(|row| &row[at]);
        cells.any(|cell| matches!(cell, Cell::Principal(_)))
    }

    /// Whether values of a column that differ look different in this width.
    fn is_distinct(&self, at: usize, width: usize, spelling: &Spelling<'_>) -> bool {
        let whole: BTreeSet<String> = self.rows.iter().map(|row| row[at].whole()).collect();
        let cells = self.rows.iter().map(|row| spelling.fit(&row[at], width));
        cells.collect::<BTreeSet<String>>().len() == whole.len()
    }

    /// The characters of a column's widest value or title.
    fn width(&self, at: usize, spelling: &Spelling<'_>) -> usize {
        let cells = self.rows.iter().map(|row| spelling.natural(&row[at]));
        let title = self.columns[at].title.chars().count();
        cells.fold(title, usize::max)
    }

    fn sort(&mut self, by: &str) -> Result<()> {
        let same = |title: &str| {
            title.eq_ignore_ascii_case(by) || sort_name(title).eq_ignore_ascii_case(by)
        };
        let Some(at) = self.columns.iter().position(|column| same(column.title)) else {
            let titles: Vec<&str> = self.columns.iter().map(|it| it.title).collect();
            bail!("--sort-by {by}: write one of {}", titles.join(", "));
        };
        self.rows.sort_by_cached_key(|row| {
            let text = row[at].whole();
            let number: Option<u64> = text.parse().ok();
            (number.is_none(), number, text)
        });
        Ok(())
    }
}

/// A column's name for `--sort-by`, without spaces, which a shell would want to be quoted.
pub(super) fn sort_name(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}

/// The columns that are printed, and how wide.
struct Fit {
    kept: Vec<usize>,
    /// Of every column.
    widths: Vec<usize>,
    left_out: Vec<usize>,
}

impl Fit {
    /// The characters of a line.
    fn total(&self) -> usize {
        let gaps = GAP * self.kept.len().saturating_sub(1);
        self.kept.iter().map(|at| self.widths[*at]).sum::<usize>() + gaps
    }
}

/// Cells with gaps between them, and nothing at the end.
fn line(cells: impl Iterator<Item = String>, kept: &[usize], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, at) in cells.zip(kept) {
        let padding = (widths[*at] + GAP).saturating_sub(cell.chars().count());
        line += &cell;
        line.extend(std::iter::repeat_n(' ', padding));
    }
    line.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests;
