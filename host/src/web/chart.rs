//! Arrivals of the last hour as an inline SVG: one bar a minute, faults in a colour of their own.

use super::html::{Html, grouped};
use crate::api::Minute;

/// How wide it is drawn, and under which name. A drawing's letters shrink with it, so a telephone gets one of its own: the
/// style shows one of them.
const SHAPES: [(f64, &str); 2] = [(960.0, "chart"), (400.0, "chart narrow")];
const HEIGHT: f64 = 168.0;
/// Room for the scale on the left and the clock below.
const LEFT: f64 = 52.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;
/// Part of a bar's place that stays empty.
const GAP: f64 = 0.22;
/// Minutes between two marks of the clock.
const CLOCK_EVERY: usize = 10;

pub fn draw(html: &mut Html, minutes: &[Minute]) {
    for (width, class) in SHAPES {
        shape(html, minutes, width, class);
    }
}

fn shape(html: &mut Html, minutes: &[Minute], width: f64, class: &str) {
    let most = minutes.iter().map(|m| m.frames).max().unwrap_or(0);
    let top = ceiling(most);
    let plot = HEIGHT - TOP - BOTTOM;
    let step = (width - LEFT) / minutes.len().max(1) as f64;
    let y = |frames: u64| TOP + plot * (1.0 - frames as f64 / top as f64);
    html.raw(&format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {HEIGHT}\" role=\"img\" aria-label=\"Arrivals per minute, last hour\">"
    ));
    for mark in [0, top / 2, top] {
        let at = y(mark);
        html.raw(&format!("<line class=\"rule\" x1=\"{LEFT}\" x2=\"{width}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"));
        html.raw(&format!("<text class=\"scale\" x=\"{:.1}\" y=\"{:.1}\">", LEFT - 8.0, at + 4.0));
        html.text(&grouped(mark)).raw("</text>");
    }
    for (place, minute) in minutes.iter().enumerate() {
        let x = LEFT + step * (place as f64 + GAP / 2.0);
        bar(html, minute, x, step * (1.0 - GAP), &y);
        let from_end = minutes.len() - 1 - place;
        if from_end.is_multiple_of(CLOCK_EVERY) {
            let middle = x + step * (1.0 - GAP) / 2.0;
            let anchor = if from_end == 0 { "end" } else { "middle" };
            let at = if from_end == 0 { width } else { middle };
            html.raw(&format!(
                "<text class=\"clock\" text-anchor=\"{anchor}\" x=\"{at:.1}\" y=\"{:.1}\">",
                HEIGHT - 5.0
            ));
            html.text(&minute.local).raw("</text>");
        }
    }
    html.raw("</svg>");
}

fn bar(html: &mut Html, minute: &Minute, x: f64, width: f64, y: &dyn Fn(u64) -> f64) {
    let base = y(0);
    html.raw("<g>");
    html.raw("<title>").text(&format!("{} · {} frames", minute.local, minute.frames));
    if minute.faults > 0 {
        html.text(&format!(", {} faulty", minute.faults));
    }
    html.raw("</title>");
    // Wider than the bar, so that an empty minute can be pointed at as well.
    html.raw(&format!(
        "<rect class=\"touch\" x=\"{x:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
        base - TOP
    ));
    let good = minute.frames.saturating_sub(minute.faults);
    for (class, from, to) in [("bar", 0, good), ("bar faulty", good, minute.frames)] {
        if to > from {
            let (upper, lower) = (y(to), y(from));
            let height = (lower - upper).max(1.5);
            let upper = upper.min(lower - height);
            html.raw(&format!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{upper:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"1.5\"/>"
            ));
        }
    }
    html.raw("</g>");
}

/// The least of 2, 4, 6, 8, 10, 20, 40 … that is not below the highest bar: its half is whole, too.
fn ceiling(most: u64) -> u64 {
    let mut decade = 1_u64;
    loop {
        for step in [2, 4, 6, 8, 10] {
            let top = decade.saturating_mul(step);
            if top >= most {
                return top;
            }
        }
        decade = decade.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_in_round_numbers() {
        for (most, top) in [(0, 2), (2, 2), (3, 4), (5, 6), (9, 10), (11, 20), (37, 40), (41, 60), (12_345, 20_000)] {
            assert_eq!(ceiling(most), top, "{most}");
        }
        assert!(ceiling(u64::MAX) > 0);
    }

    #[test]
    fn a_narrow_screen_has_a_drawing_whose_letters_do_not_shrink() {
        let minute = |n: usize| Minute {
            at: String::new(),
            local: format!("12:{n:02}"),
            frames: n as u64,
            reports: 0,
            faults: 1,
        };
        let mut html = Html::default();
        draw(&mut html, &(0..60).map(minute).collect::<Vec<_>>());
        let text = html.finish();
        for (width, class) in SHAPES {
            assert_eq!(text.matches(&format!("<svg class=\"{class}\" viewBox=\"0 0 {width} ")).count(), 1, "{class}");
        }
        let style = include_str!("style.css");
        assert!(
            style.contains(".chart.narrow { display: none; }") && style.contains(".chart.narrow { display: block; }")
        );
    }
}
