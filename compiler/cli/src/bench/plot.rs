//! Tokens/s over the tokens of a batch, as SVG.

use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::*;

use super::report::Report;
use crate::failure::Failure;

const SIZE: (u32, u32) = (800, 480);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const PALE: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const LINE: RGBColor = RGBColor(0x1f, 0x6f, 0xb5);

/// A point of the line, and how many samples its batches have.
#[derive(Clone, Copy)]
struct Point {
    tokens: f64,
    rate: f64,
    samples: f64,
}

/// The picture.
pub(super) fn svg(report: &Report) -> Result<String, Failure> {
    let mut points: Vec<_> = report
        .rows
        .iter()
        .filter_map(|row| {
            let rate = row.times.as_ref()?.tokens_per_s;
            Some(Point { tokens: row.tokens, rate, samples: row.samples })
        })
        .filter(|point| point.tokens > 0.0 && point.rate.is_finite())
        .collect();
    points.sort_by(|a, b| a.tokens.total_cmp(&b.tokens));
    let mut svg = String::new();
    draw(report, &points, &mut svg)
        .map_err(|error| Failure::internal(anyhow::anyhow!("can't draw the plot: {error}")))?;
    Ok(svg)
}

fn draw(
    report: &Report,
    points: &[Point],
    svg: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let most = points.iter().fold(0.0f64, |most, point| most.max(point.rate)).max(1.0);
    let first = points.first().map_or(1.0, |point| point.tokens);
    let last = points.last().map_or(1.0, |point| point.tokens);
    let title = format!("{} for {} in {}", report.plan, report.target, report.dtype);
    let machine = match report.instructions {
        Some(instructions) => {
            format!("{}, {instructions}, {} threads", report.machine, report.threads)
        }
        None => report.machine.clone(),
    };
    let about = format!("{machine}; lengths {}", report.lengths);
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    root.draw(&Text::new(title, (20, 14), text(20)))?;
    root.draw(&Text::new(about, (20, 42), text(13)))?;
    let area = root.margin(64, 12, 12, 28);
    let x = (first / 1.3..last * 1.3).log_scale();
    let mut chart = ChartBuilder::on(&area)
        .x_label_area_size(44)
        .y_label_area_size(76)
        .build_cartesian_2d(x, 0.0..most * 1.15)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(PALE)
        .axis_style(INK)
        .label_style(text(13))
        .axis_desc_style(text(14))
        .x_desc("tokens of a batch")
        .y_desc("tokens/s")
        .x_label_formatter(&|tokens| format!("{tokens:.0}"))
        .y_label_formatter(&|rate| thousands(*rate))
        .draw()?;
    let places = || points.iter().map(|point| (point.tokens, point.rate));
    chart.draw_series(LineSeries::new(places(), LINE.stroke_width(2)))?;
    chart.draw_series(places().map(|place| Circle::new(place, 4, LINE.filled())))?;
    chart.draw_series(points.iter().map(|point| {
        let samples = format!("{:.0}", point.samples);
        EmptyElement::at((point.tokens, point.rate)) + Text::new(samples, (-4, -20), text(12))
    }))?;
    root.draw(&Text::new("numbers at the points: samples of a batch", (20, 458), text(12)))?;
    root.present()?;
    Ok(())
}

/// With thousands apart.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut said = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            said.push(',');
        }
        said.push(digit);
    }
    said
}
