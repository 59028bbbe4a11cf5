//! A dashboard as the JSON that Grafana provisions and imports: schema 39, which Grafana 10.4 and all newer ones read.

use super::layout::place;
use super::model::{Color, Dashboard, Kind, Panel, Row, Table, Target, Unit, Variable};
use serde_json::{Map, Value, json};

/// The version of the JSON's schema. Newer versions of Grafana bring it to their own when they read it.
pub const SCHEMA_VERSION: u64 = 39;
/// The tag by which the dashboards find each other.
pub const TAG: &str = "vigie";

/// The whole dashboard.
pub fn dashboard(dashboard: &Dashboard) -> Value {
    let Dashboard {
        uid,
        title,
        description,
        variables,
        rows,
    } = dashboard;
    json!({
        "annotations": { "list": [annotations()] },
        "description": description,
        "editable": false,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": null,
        "links": [links()],
        "liveNow": false,
        "panels": panels(rows),
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": [TAG],
        "templating": { "list": variables.iter().map(variable).collect::<Vec<_>>() },
        "time": { "from": "now-1h", "to": "now" },
        "timepicker": {},
        "timezone": "",
        "title": title,
        "uid": uid,
        "version": 1,
        "weekStart": "",
    })
}

/// Notes that people make in Grafana itself.
fn annotations() -> Value {
    json!({
        "builtIn": 1,
        "datasource": { "type": "grafana", "uid": "-- Grafana --" },
        "enable": true,
        "hide": true,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    })
}

/// Links to all dashboards of the tag, which take the time and the variables along.
fn links() -> Value {
    json!({
        "asDropdown": false,
        "icon": "external link",
        "includeVars": true,
        "keepTime": true,
        "tags": [TAG],
        "targetBlank": false,
        "title": "Vigie",
        "tooltip": "",
        "type": "dashboards",
        "url": "",
    })
}

fn variable(variable: &Variable) -> Value {
    let Variable {
        name,
        label,
        description,
        query,
        is_multiple,
    } = variable;
    let Some(query) = query else {
        return json!({
            "description": description,
            "hide": 0,
            "includeAll": false,
            "label": label,
            "multi": false,
            "name": name,
            "options": [],
            "query": "prometheus",
            "refresh": 1,
            "regex": "",
            "skipUrlSync": false,
            "type": "datasource",
        });
    };
    let mut value = json!({
        "datasource": data_source(),
        "definition": query,
        "description": description,
        "hide": 0,
        "includeAll": is_multiple,
        "label": label,
        "multi": is_multiple,
        "name": name,
        "options": [],
        // 1 is "label values": the editor shows it as such.
        "query": { "qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery" },
        "refresh": 2,
        "regex": "",
        "skipUrlSync": false,
        "sort": 1,
        "type": "query",
    });
    if *is_multiple {
        value["allValue"] = json!(".+");
        value["current"] = json!({ "selected": true, "text": ["All"], "value": ["$__all"] });
    }
    value
}

fn data_source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn panels(rows: &[Row]) -> Vec<Value> {
    let mut panels = Vec::new();
    let mut top = 0;
    for row in rows {
        let id = panels.len() + 1;
        panels.push(json!({
            "collapsed": false,
            "gridPos": { "h": 1, "w": 24, "x": 0, "y": top },
            "id": id,
            "panels": [],
            "title": row.title,
            "type": "row",
        }));
        top += 1;
        let sizes: Vec<(u16, u16)> = row.panels.iter().map(|panel| panel.size).collect();
        let (places, height) = place(&sizes);
        for (panel, (x, y)) in row.panels.iter().zip(places) {
            let id = panels.len() + 1;
            panels.push(self::panel(panel, id, x, top + y));
        }
        top += height;
    }
    panels
}

fn panel(panel: &Panel, id: usize, x: u16, y: u16) -> Value {
    let (width, height) = panel.size;
    let (kind, options) = options(panel);
    let mut value = json!({
        "datasource": data_source(),
        "description": panel.description,
        "fieldConfig": field_config(panel),
        "gridPos": { "h": height, "w": width, "x": x, "y": y },
        "id": id,
        "options": options,
        "targets": panel.targets.iter().enumerate().map(|(index, target)| query(panel, index, target)).collect::<Vec<_>>(),
        "title": panel.title,
        "type": kind,
    });
    match &panel.kind {
        Kind::Table(table) => value["transformations"] = columns(panel, table),
        Kind::Matrix { row, column } => {
            value["transformations"] = json!([{
                "id": "groupingToMatrix",
                "options": { "columnField": column, "rowField": row, "valueField": "Value" },
            }]);
        }
        _ => {}
    }
    value
}

/// The letter of a query within its panel.
fn letter(index: usize) -> String {
    let letter = u8::try_from(index).ok().and_then(|index| b'A'.checked_add(index));
    letter.map_or_else(|| format!("Q{index}"), |letter| char::from(letter).to_string())
}

fn query(panel: &Panel, index: usize, target: &Target) -> Value {
    let is_table = matches!(panel.kind, Kind::Table(_) | Kind::Matrix { .. });
    let is_instant = is_table || panel.kind == Kind::Bars;
    let format = match panel.kind {
        Kind::HeatMap => "heatmap",
        _ if is_table => "table",
        _ => "time_series",
    };
    json!({
        "datasource": data_source(),
        "editorMode": "code",
        "exemplar": false,
        "expr": target.expression,
        "format": format,
        "instant": is_instant,
        "legendFormat": if is_table { "" } else { target.legend },
        "range": !is_instant,
        "refId": letter(index),
    })
}

// === Fields ===

fn field_config(panel: &Panel) -> Value {
    let mode = match panel.kind {
        Kind::Lines | Kind::Stacked | Kind::Shares => "palette-classic",
        _ => "thresholds",
    };
    let mut defaults = json!({
        "color": { "mode": mode },
        "custom": custom(panel),
        "mappings": mappings(panel),
        "thresholds": thresholds(panel),
        "unit": panel.unit.id(),
    });
    if let Some(min) = panel.bounds.0 {
        defaults["min"] = json!(min);
    }
    if let Some(max) = panel.bounds.1 {
        defaults["max"] = json!(max);
    }
    if let Some(text) = panel.if_empty {
        defaults["noValue"] = json!(text);
    }
    json!({ "defaults": defaults, "overrides": overrides(panel) })
}

/// What only this kind of panel has.
fn custom(panel: &Panel) -> Value {
    let hide_from = json!({ "legend": false, "tooltip": false, "viz": false });
    let (stacking, fill, line) = match panel.kind {
        Kind::Stacked => ("normal", 60, 0),
        Kind::Shares => ("percent", 60, 0),
        _ => ("none", 10, 1),
    };
    match &panel.kind {
        Kind::Lines | Kind::Stacked | Kind::Shares => json!({
            "axisBorderShow": false,
            "axisCenteredZero": false,
            "axisColorMode": "text",
            "axisLabel": "",
            "axisPlacement": "auto",
            "barAlignment": 0,
            "drawStyle": "line",
            "fillOpacity": fill,
            "gradientMode": "none",
            "hideFrom": hide_from,
            "insertNulls": false,
            "lineInterpolation": "linear",
            "lineWidth": line,
            "pointSize": 5,
            "scaleDistribution": { "type": "linear" },
            "showPoints": "never",
            "spanNulls": false,
            "stacking": { "group": "A", "mode": stacking },
            "thresholdsStyle": { "mode": if panel.thresholds.is_empty() { "off" } else { "dashed" } },
        }),
        Kind::HeatMap => json!({ "hideFrom": hide_from, "scaleDistribution": { "type": "linear" } }),
        Kind::States => {
            json!({ "fillOpacity": 70, "hideFrom": hide_from, "lineWidth": 0 })
        }
        Kind::Table(_) => json!({ "align": "auto", "cellOptions": { "type": "auto" }, "inspect": false }),
        Kind::Matrix { .. } => {
            json!({ "align": "auto", "cellOptions": { "mode": "gradient", "type": "gauge" }, "inspect": false })
        }
        Kind::Stat | Kind::Bars => json!({}),
    }
}

fn mappings(panel: &Panel) -> Value {
    if panel.words.is_empty() {
        return json!([]);
    }
    let words = panel.words.iter().enumerate();
    let options: Map<String, Value> = words
        .map(|(index, (value, word, color))| {
            let result = json!({ "color": color.name(), "index": index, "text": word });
            (value.to_string(), result)
        })
        .collect();
    json!([{ "options": options, "type": "value" }])
}

fn thresholds(panel: &Panel) -> Value {
    // Where there are none, nothing is good or bad.
    let base = if panel.thresholds.is_empty() {
        Color::Blue
    } else {
        Color::Green
    };
    let first = json!({ "color": base.name(), "value": null });
    let steps = panel
        .thresholds
        .iter()
        .map(|(value, color)| json!({ "color": color.name(), "value": value }));
    let steps: Vec<Value> = std::iter::once(first).chain(steps).collect();
    json!({ "mode": "absolute", "steps": steps })
}

fn overrides(panel: &Panel) -> Vec<Value> {
    let by_name = |name: &str, properties: Value| json!({ "matcher": { "id": "byName", "options": name }, "properties": properties });
    let mut overrides = Vec::new();
    for (legend, color) in &panel.colors {
        let color = json!({ "fixedColor": color.name(), "mode": "fixed" });
        overrides.push(by_name(legend, json!([{ "id": "color", "value": color }])));
    }
    if let Kind::Table(table) = &panel.kind {
        for target in &panel.targets {
            let unit = target.unit.unwrap_or(Unit::Plain).id();
            overrides.push(by_name(target.legend, json!([{ "id": "unit", "value": unit }])));
        }
        if let Some(link) = table.link {
            let url = format!(
                "/d/{}?var-{}=${{__value.raw:percentencode}}&var-datasource=${{datasource:percentencode}}&${{__url_time_range}}",
                link.uid, link.variable
            );
            let links = json!([{ "targetBlank": false, "title": link.title, "url": url }]);
            overrides.push(by_name(link.column, json!([{ "id": "links", "value": links }])));
        }
    }
    overrides
}

// === Options ===

/// Grafana's name of the kind, and its options.
fn options(panel: &Panel) -> (&'static str, Value) {
    let tooltip = json!({ "maxHeight": 600, "mode": "multi", "sort": "desc" });
    let reduce = json!({ "calcs": ["lastNotNull"], "fields": "", "values": false });
    match &panel.kind {
        Kind::Lines | Kind::Stacked | Kind::Shares => {
            let legend =
                json!({ "calcs": ["mean", "max"], "displayMode": "table", "placement": "bottom", "showLegend": true });
            ("timeseries", json!({ "legend": legend, "tooltip": tooltip }))
        }
        Kind::Stat => (
            "stat",
            json!({
                "colorMode": "value",
                "graphMode": if panel.words.is_empty() { "area" } else { "none" },
                "justifyMode": "auto",
                "orientation": "auto",
                "percentChangeColorMode": "standard",
                "reduceOptions": reduce,
                "showPercentChange": false,
                "textMode": "auto",
                "wideLayout": true,
            }),
        ),
        Kind::Bars => (
            "bargauge",
            json!({
                "displayMode": "gradient",
                "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": false },
                "maxVizHeight": 300,
                "minVizHeight": 16,
                "minVizWidth": 8,
                "namePlacement": "auto",
                "orientation": "horizontal",
                "reduceOptions": reduce,
                "showUnfilled": true,
                "sizing": "auto",
                "valueMode": "color",
            }),
        ),
        Kind::HeatMap => ("heatmap", heat_map(panel.unit)),
        Kind::States => (
            "state-timeline",
            json!({
                "alignValue": "left",
                "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true },
                "mergeValues": true,
                "rowHeight": 0.9,
                "showValue": "never",
                "tooltip": { "mode": "single", "sort": "none" },
            }),
        ),
        Kind::Table(table) => {
            let sort_by = table
                .sort_by
                .map(|column| json!({ "desc": true, "displayName": column }));
            ("table", table_options(sort_by))
        }
        Kind::Matrix { .. } => ("table", table_options(None)),
    }
}

fn table_options(sort_by: Option<Value>) -> Value {
    json!({
        "cellHeight": "sm",
        "footer": { "countRows": false, "fields": [], "reducer": ["sum"], "show": false },
        "showHeader": true,
        "sortBy": sort_by.into_iter().collect::<Vec<_>>(),
    })
}

/// The buckets come from Prometheus: nothing is to be calculated.
fn heat_map(unit: Unit) -> Value {
    json!({
        "calculate": false,
        "cellGap": 1,
        "color": {
            "exponent": 0.5,
            "fill": "dark-orange",
            "mode": "scheme",
            "reverse": false,
            "scale": "exponential",
            "scheme": "Oranges",
            "steps": 64,
        },
        "exemplars": { "color": "rgba(255,0,255,0.7)" },
        // A bucket that nothing fell into is left empty.
        "filterValues": { "le": 1e-9 },
        "legend": { "show": true },
        "rowsFrame": { "layout": "auto" },
        "showValue": "never",
        "tooltip": { "mode": "single", "showColorScale": false, "yHistogram": true },
        "yAxis": { "axisPlacement": "left", "reverse": false, "unit": unit.id() },
    })
}

/// One table of all queries, each one's values under its heading.
fn columns(panel: &Panel, table: &Table) -> Value {
    let mut excluded: Map<String, Value> = table
        .hidden
        .iter()
        .map(|column| ((*column).to_owned(), json!(true)))
        .collect();
    excluded.insert("Time".to_owned(), json!(true));
    let targets = panel.targets.iter().enumerate();
    let renamed: Map<String, Value> = targets
        .map(|(index, target)| {
            // The answer of a single query has no letter.
            let column = match panel.targets.len() {
                1 => "Value".to_owned(),
                _ => format!("Value #{}", letter(index)),
            };
            (column, json!(target.legend))
        })
        .collect();
    json!([
        { "id": "merge", "options": {} },
        { "id": "organize", "options": { "excludeByName": excluded, "indexByName": {}, "renameByName": renamed } },
    ])
}
