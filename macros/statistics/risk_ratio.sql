{# The Mantel-Haenszel risk ratio, stratified by day: Mantel and Haenszel (1959), "Statistical aspects of the analysis
   of data from retrospective studies of disease"; variance of its logarithm by Greenland and Robins (1985), "Estimation
   of a common effect parameter from sparse follow-up data", Biometrics 41. A day on which one arm has no trial adds nothing.

   Aggregates over days, in columns that begin with `prefix`: t1 and t0, whose ratio is the risk ratio of arm 1 to arm 0;
   w, the information by which an anytime interval counts time; g, of the variance. n1 and y1 are trials and successes
   of arm 1 on a day, n0 and y0 those of arm 0. `condition` says which days enter. The term of g is
   ((y1 + y0) * n1 * n0 / N - y1 * y0) / N, without its difference: that leaves 1e-15 where all trials succeeded. #}
{% macro risk_ratio_sums(n1, y1, n0, y0, condition='true', prefix='') -%}
    {%- set total = 'cast(' ~ n1 ~ ' + ' ~ n0 ~ ' as double)' -%}
    {%- set terms = {
        't1': y1 ~ ' * (' ~ n0 ~ ' / ' ~ total ~ ')',
        't0': y0 ~ ' * (' ~ n1 ~ ' / ' ~ total ~ ')',
        'w': n1 ~ ' * (' ~ n0 ~ ' / ' ~ total ~ ')',
        'g': y1 ~ ' * (' ~ n1 ~ ' / ' ~ total ~ ') * ((' ~ n0 ~ ' - ' ~ y0 ~ ') / ' ~ total ~ ') + '
            ~ y0 ~ ' * (' ~ n0 ~ ' / ' ~ total ~ ') * ((' ~ n1 ~ ' - ' ~ y1 ~ ') / ' ~ total ~ ')',
    } -%}
    {%- for name, term in terms.items() %}
        {{ sum_of_days(term, n1, n0, condition) }} as {{ prefix }}{{ name }}{{ ',' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{# The sum of a term over the days with trials in both arms for which the condition holds. #}
{% macro sum_of_days(term, n1, n0, condition='true') -%}
    cast(
            coalesce(sum(case when {{ n1 }} > 0 and {{ n0 }} > 0 and {{ condition }} then {{ summable(term) }} end), 0)
            as double
        )
{%- endmacro %}


{# The logarithm of the risk ratio; null without a success in an arm. #}
{% macro log_risk_ratio(t1, t0) -%}
    case when {{ t1 }} > 0 and {{ t0 }} > 0 then ln({{ t1 }} / {{ t0 }}) end
{%- endmacro %}


{# Its standard error, widened by the design effect; null without a success in an arm, or where on each day all trials
   succeeded or none. #}
{% macro log_risk_ratio_error(t1, t0, g, design_effect) -%}
    case
            when {{ t1 }} > 0 and {{ t0 }} > 0 and {{ g }} > 0
                then sqrt({{ g }} / ({{ t1 }} * {{ t0 }}) * {{ design_effect }})
        end
{%- endmacro %}


{# A bound of the plain 95 % interval of the lift, right for one look that was planned. `side` is - or +. #}
{% macro plain_lift_bound(log_ratio, error, side) -%}
    {{ lift_of(log_ratio ~ ' ' ~ side ~ ' 1.959963984540054 * ' ~ error) }}
{%- endmacro %}


{# The lift of a logarithm of a ratio. Intervals of a few trials reach beyond what a double holds; beyond e^20 they say
   no more than that anything is possible. An engine may work out both branches of a case, so neither goes too far. #}
{% macro lift_of(log_ratio) -%}
    case when {{ log_ratio }} is not null then exp(least({{ log_ratio }}, cast(20 as double))) end - 1
{%- endmacro %}
