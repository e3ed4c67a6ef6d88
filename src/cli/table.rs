//! Tables that fit the terminal: as kubectl prints them, with the columns that matter least left out and long values shortened.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use terminal_size::{Width, terminal_size_of};

use super::output::visible;
use crate::principal::{middle, some_of};

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
    pub(crate) args: TableArgs,
}

impl TableLayout {
    /// For standard output. `wide`: whatever the terminal's width.
    pub(crate) fn of_stdout(args: &TableArgs, wide: bool) -> Self {
        Self {
            width: if wide { None } else { terminal_width() },
            args: args.clone(),
        }
    }
}

/// The width that `COLUMNS` gives, or that of the terminal; `None` where there is neither.
fn terminal_width() -> Option<usize> {
    let given = std::env::var("COLUMNS").ok();
    let given = given.and_then(|width| width.parse().ok());
    given.or_else(|| {
        let stdout = std::io::stdout();
        let size = stdout.is_terminal().then(|| terminal_size_of(&stdout));
        let (Width(width), _) = size.flatten()?;
        Some(width.into())
    })
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// The least width to which values are shortened; `None`: they are not.
    pub(crate) least: Option<usize>,
    /// When it is left out: those with the highest number first; 0: never.
    pub(crate) minor: u8,
}

impl Column {
    pub(crate) const fn whole(title: &'static str) -> Self {
        Self {
            title,
            least: None,
            minor: 0,
        }
    }

    pub(crate) const fn shortened(title: &'static str, least: usize) -> Self {
        Self {
            title,
            least: Some(least),
            minor: 0,
        }
    }

    pub(crate) const fn minor(self, minor: u8) -> Self {
        Self { minor, ..self }
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    /// Shortened in the middle.
    Text(String),
    /// An ARN, of which the part that all have goes first.
    Arn(String),
    /// Shortened to the first of them and a count of the others.
    List(Vec<String>),
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn whole(&self) -> String {
        let text = match self {
            Self::Text(text) | Self::Arn(text) => text.clone(),
            Self::List(parts) => parts.join(", "),
        };
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    }

    fn fit(&self, width: usize) -> String {
        let whole = self.whole();
        if whole.chars().count() <= width {
            return whole;
        }
        match self {
            Self::Text(_) => middle(&whole, width),
            Self::Arn(arn) => {
                // arn:aws:iam::111122223333:role/x: partition and service are the same for all.
                let rest = arn.splitn(5, ':').nth(4);
                let short = rest.map(|rest| format!("…{rest}"));
                middle(short.as_deref().unwrap_or(arn), width)
            }
            Self::List(parts) => some_of(parts, width),
        }
    }
}

/// Rows under columns.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(
        columns: [Column; N],
        rows: impl IntoIterator<Item = [Cell; N]>,
    ) -> Self {
        Self::of(columns.to_vec(), rows.into_iter().map(Vec::from).collect())
    }

    /// Rows with as many values as there are columns. Values are made visible here: others wrote them.
    pub(crate) fn of(columns: Vec<Column>, rows: Vec<Vec<Cell>>) -> Self {
        let shown = |cell: Cell| match cell {
            Cell::Text(text) if text.is_empty() => Cell::Text(text),
            Cell::Text(text) => Cell::Text(visible(&text)),
            Cell::Arn(arn) => Cell::Arn(visible(&arn)),
            Cell::List(parts) => Cell::List(parts.iter().map(|part| visible(part)).collect()),
        };
        let rows = rows.into_iter();
        Self {
            columns,
            rows: rows
                .map(|row| row.into_iter().map(shown).collect())
                .collect(),
        }
    }

    pub(crate) fn render(mut self, layout: &TableLayout) -> Result<String> {
        if let Some(by) = &layout.args.sort_by {
            self.sort(by)?;
        }
        Ok(self.shown(layout.width, layout.args.no_headers))
    }

    /// As wide as standard output, for a command with one form of its table.
    pub(crate) fn fitted(&self) -> String {
        self.shown(terminal_width(), false)
    }

    fn shown(&self, limit: Option<usize>, no_headers: bool) -> String {
        let natural: Vec<usize> = (0..self.columns.len()).map(|at| self.width(at)).collect();
        let least = |at: usize| {
            let column = &self.columns[at];
            let least = column
                .least
                .map_or(natural[at], |least| least.max(column.title.len()));
            least.min(natural[at])
        };
        let mut kept: Vec<usize> = (0..self.columns.len()).collect();
        let mut widths = natural.clone();
        let mut left_out = Vec::new();
        if let Some(limit) = limit {
            let total = |kept: &[usize], width: &dyn Fn(usize) -> usize| {
                let gaps = GAP * kept.len().saturating_sub(1);
                kept.iter().map(|at| width(*at)).sum::<usize>() + gaps
            };
            let empty = |at: usize| self.rows.iter().all(|row| row[at].whole() == "-");
            if total(&kept, &|at| natural[at]) > limit {
                // Nothing is lost with a column without values.
                kept.retain(|at| self.columns[*at].minor == 0 || !empty(*at));
            }
            while total(&kept, &least) > limit {
                let minor = kept.iter().enumerate();
                let minor = minor.filter(|(_, at)| self.columns[**at].minor > 0);
                let Some((place, _)) = minor.max_by_key(|(_, at)| self.columns[**at].minor) else {
                    break;
                };
                left_out.push(kept.remove(place));
            }
            // The widest gives first, so that short values stay whole.
            while total(&kept, &|at| widths[at]) > limit {
                let shrinks = kept.iter().filter(|at| widths[**at] > least(**at));
                let Some(widest) = shrinks.max_by_key(|at| widths[**at]) else {
                    break;
                };
                widths[*widest] -= 1;
            }
        }
        let mut text = String::new();
        if !no_headers {
            let titles = kept.iter().map(|at| self.columns[*at].title.to_owned());
            text += &line(titles, &kept, &widths);
        }
        for row in &self.rows {
            let cells = kept.iter().map(|at| row[*at].fit(widths[*at]));
            text += &line(cells, &kept, &widths);
        }
        if !left_out.is_empty() && !no_headers {
            left_out.sort_unstable();
            let titles: Vec<&str> = left_out.iter().map(|at| self.columns[*at].title).collect();
            let _ = writeln!(text, "\n-o wide also shows {}.", titles.join(", "));
        }
        text
    }

    /// The characters of a column's widest value or title.
    fn width(&self, at: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[at].whole().chars().count());
        let title = self.columns[at].title.chars().count();
        cells.fold(title, usize::max)
    }

    fn sort(&mut self, by: &str) -> Result<()> {
        let same = |title: &str| title.eq_ignore_ascii_case(by);
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
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn table() -> Table {
        let row = |name: &str, groups: &[&str], size: &str| {
            [
                Cell::Arn(format!("arn:aws:iam::111122223333:role/{name}")),
                Cell::List(groups.iter().map(|it| (*it).to_owned()).collect()),
                Cell::text(size),
            ]
        };
        Table::new(
            [
                Column::shortened("PRINCIPAL", 12),
                Column::shortened("GROUPS", 10),
                Column::whole("SIZE").minor(1),
            ],
            [
                row(
                    "data-platform-readers",
                    &["viewers", "auditors", "on-call"],
                    "12",
                ),
                row("Dev", &["dev\u{202e}"], "9"),
                row("x", &[], ""),
            ],
        )
    }

    fn rendered(width: Option<usize>, args: TableArgs) -> String {
        table()
            .render(&TableLayout { width, args })
            .expect("rendered")
    }

    #[test]
    fn tables_fit() {
        assert_snapshot!(rendered(None, TableArgs::default()), @r"
        PRINCIPAL                                             GROUPS                      SIZE
        arn:aws:iam::111122223333:role/data-platform-readers  viewers, auditors, on-call  12
        arn:aws:iam::111122223333:role/Dev                    dev\u{202e}                 9
        arn:aws:iam::111122223333:role/x                      -                           -
        ");
        assert_snapshot!(rendered(Some(60), TableArgs::default()), @r"
        PRINCIPAL                   GROUPS                      SIZE
        …111122223333…form-readers  viewers, auditors, on-call  12
        …111122223333:role/Dev      dev\u{202e}                 9
        …111122223333:role/x        -                           -
        ");
        assert_snapshot!(rendered(Some(28), TableArgs::default()), @r"
        PRINCIPAL      GROUPS
        …11112…eaders  viewers +2
        …11112…le/Dev  dev\u{202e}
        …11112…role/x  -

        -o wide also shows SIZE.
        ");
    }

    #[test]
    fn rows_are_sorted_by_numbers_and_words_and_headers_can_be_left_out() {
        let by = |column: &str| TableArgs {
            no_headers: true,
            sort_by: Some(column.to_owned()),
        };
        assert_snapshot!(rendered(None, by("size")), @r"
        arn:aws:iam::111122223333:role/Dev                    dev\u{202e}                 9
        arn:aws:iam::111122223333:role/data-platform-readers  viewers, auditors, on-call  12
        arn:aws:iam::111122223333:role/x                      -                           -
        ");
        let error = table().render(&TableLayout {
            width: None,
            args: by("age"),
        });
        assert_snapshot!(error.expect_err("no such column"), @"--sort-by age: write one of PRINCIPAL, GROUPS, SIZE");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(width in 30_usize..200, words in prop::collection::vec("\\PC{0,60}", 1..6)) {
            let columns = [Column::shortened("A", 10), Column::shortened("B", 8).minor(1), Column::whole("C").minor(2)];
            let row = |word: &String| [Cell::Arn(word.clone()), Cell::List(words.clone()), Cell::text(word.clone())];
            let table = Table::new(columns, words.iter().map(row));
            let text = table.render(&TableLayout { width: Some(width), args: TableArgs::default() }).expect("rendered");
            for line in text.lines() {
                prop_assert!(line.chars().count() <= width, "{line:?}");
            }
        }
    }
}
