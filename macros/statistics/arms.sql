{# The arm of a comparison that a row belongs to: a copy, or the control. What JustAI serves beside the control, taken
   together, is the arm `copies`. #}
{% macro arm_of(copy_id, is_control) -%}
    case when {{ is_control }} then 'control' else {{ copy_id }} end
{%- endmacro %}


{# Sums over persons for one arm's design effect, per compared metric. #}
{% macro person_sums() -%}
    {%- for compared in compared_metrics() %}
        count(case when {{ compared.trials }} > 0 then 1 end) as {{ compared.metric }}_people,
        sum({{ compared.trials }}) as {{ compared.metric }}_trials,
        sum({{ compared.metric }}) as {{ compared.metric }}_successes,
        sum({{ compared.metric }} * {{ compared.metric }}) as {{ compared.metric }}_yy,
        sum({{ compared.metric }} * {{ compared.trials }}) as {{ compared.metric }}_yn,
        sum({{ compared.trials }} * {{ compared.trials }}) as {{ compared.metric }}_nn{{ ',' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{# Sums over persons who are in two arms, for the covariance, per compared metric. #}
{% macro crossed_person_sums(first, second) -%}
    {%- for compared in compared_metrics() %}
        {%- set n, y = compared.trials, compared.metric %}
        sum({{ first }}.{{ y }} * {{ second }}.{{ y }}) as {{ y }}_yy,
        sum({{ first }}.{{ y }} * {{ second }}.{{ n }}) as {{ y }}_yn,
        sum({{ first }}.{{ n }} * {{ second }}.{{ y }}) as {{ y }}_ny,
        sum({{ first }}.{{ n }} * {{ second }}.{{ n }}) as {{ y }}_nn{{ ',' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{# One row per compared metric, from a relation with columns <metric>_<name> beside the `keys`. #}
{% macro by_compared_metric(relation, keys, names) -%}
    {%- for compared in compared_metrics() -%}
    select
        {{ keys | join(',\n        ') }},
        '{{ compared.metric }}' as metric,
        {%- for name in names %}
        {{ compared.metric }}_{{ name }} as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ relation }}
    {%- if not loop.last %}

    union all

    {% endif -%}
    {%- endfor -%}
{%- endmacro %}
