//! Chapter: the tables that kubectl prints.

use anyhow::{Context as _, Result, ensure};

use crate::{demo::walkthrough::Walkthrough, kubectl::table};

/// A row that must be there: the object, and the content of some columns.
type Row = (&'static str, &'static [(&'static str, &'static str)]);

const TABLES: [(&str, &[Row]); 3] = [
    (
        "secretpolicies",
        &[
            ("api", &[("READY", "True"), ("REASON", "Synced"), ("CONSUMERS", "2/2")]),
            ("db", &[("SOURCE", "RemoteStore/bao"), ("READY", "True"), ("REASON", "Synced"), ("CONSUMERS", "1/1")]),
            ("mail", &[("SOURCE", "RemoteStore/aws"), ("READY", "True"), ("REASON", "Synced"), ("CONSUMERS", "1/1")]),
            ("sign", &[("READY", "False"), ("REASON", "LockedAndChanged")]),
        ],
    ),
    ("rotationschedules", &[("db", &[("POLICY", "db"), ("ROTATOR", "generate"), ("STEP", ""), ("READY", "True")])]),
    ("remotestores", &[("aws", &[("READY", "True")]), ("bao", &[("READY", "True"), ("ACCESS", "ReadWrite")])]),
];

/// Runs the chapter.
pub async fn tell(walk: &mut Walkthrough<'_>) {
    walk.out.chapter("Looking back, with kubectl");
    for (kind, rows) in TABLES {
        let Some(printed) = walk.kubectl(&["get", kind]).await else { continue };
        walk.check(&format!("kubectl get {kind} agrees with what was checked above"), async {
            checked(&printed, rows)
        })
        .await;
    }
}

fn checked(printed: &str, rows: &[Row]) -> Result<(String, ())> {
    let table = table(printed)?;
    for (name, cells) in rows {
        let cell = |row: &Vec<(String, String)>, column: &str| {
            row.iter().find(|(heading, _)| heading == column).map(|(_, text)| text.clone())
        };
        let row = table.iter().find(|row| cell(row, "NAME").as_deref() == Some(name));
        let row = row.with_context(|| format!("no row {name}"))?;
        for (column, wanted) in *cells {
            let seen = cell(row, column).with_context(|| format!("no column {column}"))?;
            ensure!(seen == *wanted, "{column} of {name} is {seen:?}, not {wanted:?}");
        }
    }
    Ok((String::new(), ()))
}
