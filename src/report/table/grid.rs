//! Draws columns with comfy-table. Where the width is short, columns go one by one, the least telling first, and then
//! names are shortened; no cell is ever broken. Must not know what the columns mean.

use crate::report::text::columns::{self, Column};
use crate::report::text::{Tone, Voice};
use crate::report::{Look, Stage};
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use unicode_width::UnicodeWidthStr;

/// Names are given at least so much before the table is wider than the terminal.
const LEAST_NAME: usize = 8;

/// Names wider than this, or than a third of the width, are shortened before a column is given up for them.
const ROOMY_NAME: usize = 40;

/// The table of `stages`, as wide as `look` allows.
pub(super) fn stages(stages: &[Stage], look: Look, voice: &Voice) -> Vec<String> {
    fitted(|voice| columns::columns(stages, voice), look, voice)
}

/// The table of these columns, as wide as `look` allows; they are told again where names must be shorter.
pub(in crate::report) fn fitted(columns_in: impl Fn(&Voice) -> Vec<Column>, look: Look, voice: &Voice) -> Vec<String> {
    let Some(width) = look.width.map(usize::from) else {
        return draw(&columns_in(voice), look, voice);
    };
    let mut name_width = (width / 3).clamp(LEAST_NAME, ROOMY_NAME);
    let mut columns = columns_in(&voice.with_name_width(name_width));
    loop {
        let lines = draw(&columns, look, voice);
        let excess = widest(&lines).saturating_sub(width);
        if excess == 0 {
            return lines;
        }
        if let Some(index) = first_to_go(&columns) {
            columns.remove(index);
        } else if name_width > LEAST_NAME {
            name_width = name_width.saturating_sub(excess).max(LEAST_NAME);
            columns = columns_in(&voice.with_name_width(name_width));
            columns.retain(|column| column.rank == 0);
        } else {
            return lines;
        }
    }
}

/// The column that is missed least; none where only those are left that make the table one.
fn first_to_go(columns: &[Column]) -> Option<usize> {
    let candidates = columns.iter().enumerate().filter(|(_, column)| column.rank > 0);
    candidates.max_by_key(|(_, column)| column.rank).map(|(index, _)| index)
}

fn draw(columns: &[Column], look: Look, voice: &Voice) -> Vec<String> {
    let rows = columns.iter().map(|column| column.cells.len()).max().unwrap_or(0);
    let mut table = new_table(look);
    let titles = columns.iter().map(|column| voice.tone(Tone::Strong, column.title));
    table.set_header(titles.zip(columns).map(|(title, column)| cell(title, column.numbers)));
    let rule = if look.ascii { '-' } else { '─' };
    let style = TableStyle::new().header_separator(LineStyle::none().fill(rule));
    table.load_style(style);
    for row in 0..rows {
        let cells = columns.iter().map(|column| (column.cells.get(row).cloned().unwrap_or_default(), column.numbers));
        table.add_row(cells.map(|(text, numbers)| cell(text, numbers)));
    }
    lines(&table)
}

/// Rows of plain cells without a title; numbers to the right.
pub(in crate::report) fn plain(rows: Vec<Vec<(String, bool)>>, look: Look) -> Vec<String> {
    let mut table = new_table(look);
    table.load_style(TableStyle::new());
    for row in rows {
        table.add_row(row.into_iter().map(|(text, numbers)| cell(text, numbers)));
    }
    lines(&table)
}

fn new_table(look: Look) -> Table {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Disabled);
    if let Some(width) = look.width {
        table.set_width(width);
    }
    table
}

fn cell(text: String, numbers: bool) -> Cell {
    Cell::new(text).set_alignment(if numbers { CellAlignment::Right } else { CellAlignment::Left })
}

fn lines(table: &Table) -> Vec<String> {
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn widest(lines: &[String]) -> usize {
    lines.iter().map(|line| line.width()).max().unwrap_or(0)
}
