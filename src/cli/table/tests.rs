use std::collections::BTreeMap;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

fn table() -> Table {
    let row = |name: &str, groups: &[&str], size: &str, why: &str| {
        [
            Cell::text("role"),
            Cell::Principal(format!("arn:aws:iam::{name}")),
            Cell::List(groups.iter().map(|it| (*it).to_owned()).collect()),
            Cell::text(size),
            if why.is_empty() {
                Cell::text("yes")
            } else {
                Cell::noted("no", why)
            },
        ]
    };
    Table::new(
        [
            Column::whole("KIND").redundant(),
            Column::shortened("PRINCIPAL", 12),
            Column::shortened("GROUPS", 12),
            Column::whole("SIZE").minor(1),
            Column::whole("EFFECT"),
        ],
        [
            row(
                "111122223333:role/data-platform-readers",
                &["viewers", "auditors", "on-call"],
                "12",
                "",
            ),
            row(
                "111122223333:role/Dev",
                &["dev\u{202e}"],
                "9",
                "its ARN has a path",
            ),
            row("111122223333:role/x", &[], "", "its ARN has a path"),
            row(
                "444455556666:role/x",
                &["developers-of-everything"],
                "",
                "no such role",
            ),
        ],
    )
}

fn rendered(width: Option<usize>, wide: bool, args: TableArgs) -> String {
    table()
        .render(&TableLayout {
            width,
            wide,
            args,
            ..TableLayout::default()
        })
        .expect("rendered")
}

#[test]
fn tables_fit() {
    let shown = |width| rendered(width, false, TableArgs::default());
    assert_snapshot!(shown(None), @r"
    KIND  PRINCIPAL                   GROUPS                      SIZE  EFFECT
    role  role/data-platform-readers  viewers, auditors, on-call  12    yes
    role  role/Dev                    dev\u{202e}                 9     no (1)
    role  role/x                      -                           -     no (1)
    role  role/x (444455556666)       developers-of-everything    -     no (2)

    (1) its ARN has a path
    (2) no such role
    Principals without an account are in 111122223333.
    ");
    assert_snapshot!(shown(Some(62)), @r"
    PRINCIPAL                   GROUPS                SIZE  EFFECT
    role/data-platform-readers  viewers, auditors +1  12    yes
    role/Dev                    dev\u{202e}           9     no (1)
    role/x                      -                     -     no (1)
    role/x (444455556666)       developers…verything  -     no (2)

    (1) its ARN has a path
    (2) no such role
    Principals without an account are in 111122223333.
    -o wide also shows KIND.
    ");
    assert_snapshot!(shown(Some(48)), @r"
    PRINCIPAL             GROUPS        SIZE  EFFECT
    role/data…rm-readers  viewers +2    12    yes
    role/Dev              dev\u{202e}   9     no (1)
    role/x                -             -     no (1)
    role/x (…6666)        develo…thing  -     no (2)

    (1) its ARN has a path
    (2) no such role
    Principals without an account are in 111122223333.
    -o wide also shows KIND.
    ");
    assert_snapshot!(rendered(None, true, TableArgs::default()), @r"
    KIND  PRINCIPAL                                             GROUPS                      SIZE  EFFECT
    role  arn:aws:iam::111122223333:role/data-platform-readers  viewers, auditors, on-call  12    yes
    role  arn:aws:iam::111122223333:role/Dev                    dev\u{202e}                 9     no: its ARN has a path
    role  arn:aws:iam::111122223333:role/x                      -                           -     no: its ARN has a path
    role  arn:aws:iam::444455556666:role/x                      developers-of-everything    -     no: no such role
    ");
}

#[test]
fn rows_are_sorted_by_numbers_and_words_and_headers_can_be_left_out() {
    let by = |column: &str| TableArgs {
        no_headers: true,
        sort_by: Some(column.to_owned()),
    };
    assert_snapshot!(rendered(None, false, by("size")), @r"
    role  role/Dev                    dev\u{202e}                 9     no: its ARN has a path
    role  role/data-platform-readers  viewers, auditors, on-call  12    yes
    role  role/x                      -                           -     no: its ARN has a path
    role  role/x (444455556666)       developers-of-everything    -     no: no such role
    ");
    let error = table().render(&TableLayout {
        args: by("age"),
        ..TableLayout::default()
    });
    assert_snapshot!(error.expect_err("no such column"), @"--sort-by age: write one of KIND, PRINCIPAL, GROUPS, SIZE, EFFECT");
}

/// ARNs whose names differ in little: in a path, an account, a suffix, or in their middle.
fn arns() -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![
        "[a-c]{1,3}",
        "[a-z]{4}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx[a-c]{1,2}xxxxxxxxxxxxxxxxxxxx[a-z]{4}",
        "AWSReservedSSO_Platform[A-C]dministratorsOfAllTeam_0123456789abcde[0-2]",
    ];
    let path = prop_oneof![
        Just(""),
        Just("teams/data/"),
        Just("aws-reserved/sso.amazonaws.com/eu-west-1/")
    ];
    let account = prop_oneof![
        Just("111122223333"),
        Just("444455556666"),
        Just("777755556666")
    ];
    let arn = (account, prop_oneof![Just("role"), Just("user")], path, name);
    let arn = arn.prop_map(|(account, kind, path, name)| {
        format!("arn:aws:iam::{account}:{kind}/{path}{name}")
    });
    prop::collection::vec(prop_oneof![9 => arn, 1 => "\\PC{0,60}"], 1..8)
}

proptest! {
    #[test]
    fn rows_stay_apart_and_values_readable(width in 30_usize..200, arns in arns(), words in prop::collection::vec("\\PC{0,60}", 8)) {
        let columns = [
            Column::whole("K").redundant(),
            Column::shortened("A", 26),
            Column::shortened("B", 12).minor(1),
            Column::shortened("C", 12),
            Column::whole("D").minor(2),
        ];
        let row = |(arn, word): (&String, &String)| [
            Cell::text("role"),
            Cell::Principal(arn.clone()),
            Cell::List(words.clone()),
            Cell::Username(word.clone()),
            Cell::noted("no", word.clone()),
        ];
        let table = Table::new(columns, arns.iter().zip(&words).map(row));
        let layout = TableLayout { width: Some(width), ..TableLayout::default() };
        let spelling = table.spelling(&layout);
        let Fit { kept, widths, .. } = table.fit(layout.width, &spelling);
        let mut principals: BTreeMap<String, String> = BTreeMap::new();
        let least: usize = kept.iter().map(|at| widths[*at]).sum();
        for row in &table.rows {
            for at in &kept {
                let (shown, whole) = (spelling.fit(&row[*at], widths[*at]), spelling.fit(&row[*at], usize::MAX));
                prop_assert!(shown.chars().count() <= widths[*at], "{shown:?}");
                prop_assert!(shown == whole || widths[*at] >= LEAST, "{shown:?} of {whole:?}");
            }
            let shown = spelling.fit(&row[1], widths[1]);
            let before = principals.insert(shown, row[1].whole());
            prop_assert!(before.is_none_or(|before| before == row[1].whole()), "{principals:?}");
        }
        // A terminal that is too narrow for what tells principals apart breaks the lines.
        prop_assert!(least + GAP * (kept.len() - 1) <= width || kept == [1, 3], "{kept:?} {widths:?}");
        prop_assert!(width < 80 || kept.len() > 1);
    }
}
