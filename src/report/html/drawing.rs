//! Bars as inline SVG, each beside a table of the same numbers. Colours are attributes of the shapes, so that a page whose
//! style is forbidden still has them. Must not tell by colour alone.

use super::{Esc, words};
use crate::report::Stage;
use crate::report::text::Voice;
use std::fmt::Write as _;

/// Width of a whole bar.
const WIDTH: f64 = 600.0;
/// Height of a bar.
const HEIGHT: f64 = 18.0;
/// From one bar to the next.
const STEP: f64 = 24.0;

/// Where the time of its threads went: one bar, a piece for each kind.
pub(super) fn time(page: &mut String, stage: &Stage, voice: &Voice) {
    let parts = parts(stage);
    let whole: f64 = parts.iter().map(|(_, seconds, _)| seconds).sum();
    if whole <= 0.0 || !whole.is_finite() {
        return;
    }
    let _ = writeln!(page, "<figure>\n<figcaption>Where the time of its threads went</figcaption>");
    open(page, HEIGHT, "Where the time went", &format!("A bar of {} kinds, as in the table below", parts.len()));
    let mut x = 0.0;
    for (label, seconds, colour) in &parts {
        let width = seconds / whole * WIDTH;
        let _ = writeln!(
            page,
            "<rect x=\"{x:.1}\" y=\"0\" width=\"{width:.1}\" height=\"{HEIGHT}\" fill=\"{colour}\"><title>{label} {}</title></rect>",
            Esc(&voice.glyphs.seconds(*seconds)),
        );
        x += width;
    }
    page.push_str("</svg>\n<table>\n<thead><tr><th scope=\"col\">kind</th><th scope=\"col\">time</th><th scope=\"col\">share</th></tr></thead>\n<tbody>\n");
    for (label, seconds, colour) in &parts {
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\"><svg width=\"12\" height=\"12\" aria-hidden=\"true\"><rect width=\"12\" height=\"12\" fill=\"{colour}\"/></svg> {label}</th><td>{}</td><td>{}</td></tr>",
            Esc(&voice.glyphs.seconds(*seconds)),
            Esc(&voice.glyphs.share(seconds / whole)),
        );
    }
    page.push_str("</tbody>\n</table>\n</figure>\n");
}

/// What each executor would do: a bar each, a line for its interval, and the serial run as a rule.
pub(super) fn predictions(page: &mut String, stage: &Stage, voice: &Voice) {
    let known: Vec<_> = stage
        .predictions
        .iter()
        .filter(|one| one.speedup.is_finite() && one.interval.iter().all(|bound| bound.is_finite()))
        .collect();
    let most = known.iter().map(|one| one.speedup.max(one.interval[1])).fold(1.0, f64::max);
    if known.is_empty() {
        return;
    }
    let scale = |value: f64| (value.max(0.0) / most * WIDTH).min(WIDTH);
    let _ = writeln!(page, "<figure>\n<figcaption>Predicted throughput over a serial run</figcaption>");
    let height = STEP * known.len() as f64;
    open(page, height, "Predicted throughput", "A bar for each executor, as in the table below");
    for (index, one) in known.iter().enumerate() {
        let y = STEP * index as f64;
        let middle = y + HEIGHT / 2.0;
        let pool = words::short_pool(one.executor, Some(one.workers), voice);
        let _ = writeln!(
            page,
            "<rect x=\"0\" y=\"{y}\" width=\"{:.1}\" height=\"{HEIGHT}\" fill=\"#0072b2\"><title>{}</title></rect>\n\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"#d55e00\" stroke-width=\"3\"/>",
            scale(one.speedup),
            Esc(&pool),
            scale(one.interval[0]),
            scale(one.interval[1]),
        );
    }
    let serial = scale(1.0);
    let _ = writeln!(
        page,
        "<line x1=\"{serial:.1}\" x2=\"{serial:.1}\" y1=\"0\" y2=\"{height}\" stroke=\"currentColor\" stroke-dasharray=\"4 3\"><title>a serial run</title></line>\n</svg>"
    );
    page.push_str("<table>\n<thead><tr><th scope=\"col\">executor</th><th scope=\"col\">throughput</th><th scope=\"col\">95 % interval</th><th scope=\"col\">limited by</th></tr></thead>\n<tbody>\n");
    for one in known {
        let _ = writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
            Esc(&words::short_pool(one.executor, Some(one.workers), voice)),
            Esc(&voice.glyphs.speedup(one.speedup)),
            Esc(&super::why::interval(one.interval, voice)),
            words::bottleneck(one.limited_by),
        );
    }
    page.push_str("</tbody>\n</table>\n</figure>\n");
}

fn open(page: &mut String, height: f64, title: &str, description: &str) {
    let _ = writeln!(
        page,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" preserveAspectRatio=\"none\">\n\
         <title>{title}</title>\n<desc>{description}</desc>"
    );
}

/// The kinds of time that are known and not nothing, each with its colour: Okabe and Ito's, told apart by all eyes.
fn parts(stage: &Stage) -> Vec<(&'static str, f64, &'static str)> {
    let time = &stage.time;
    let waits = time.wait_seconds.as_ref();
    let all = [
        ("on-CPU", time.cpu_seconds, "#d55e00"),
        ("run queue", time.run_queue_seconds, "#f0e442"),
        ("GIL wait", time.gil_wait_seconds, "#cc79a7"),
        ("network", waits.map(|waits| waits.network), "#0072b2"),
        ("disk", waits.map(|waits| waits.disk), "#56b4e9"),
        ("pipe", waits.and_then(|waits| waits.pipe), "#009e73"),
        ("lock", waits.map(|waits| waits.lock), "#e69f00"),
        ("sleep", waits.map(|waits| waits.sleep), "#6a51a3"),
        ("child", waits.map(|waits| waits.child), "#8c6d31"),
        ("other wait", waits.map(|waits| waits.other), "#74c476"),
        ("starved", time.starved_seconds, "#999999"),
        ("unknown", time.unknown_seconds, "#dddddd"),
    ];
    let known = all.into_iter().filter_map(|(label, seconds, colour)| Some((label, seconds?, colour)));
    known.filter(|(_, seconds, _)| *seconds > 0.0 && seconds.is_finite()).collect()
}
