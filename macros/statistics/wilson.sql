{# A bound of Wilson's 95 % interval of a rate: Wilson (1927), "Probable inference, the law of succession, and
   statistical inference", Journal of the American Statistical Association 22. Deliveries to one person are not independent, so the
   counts are divided by the design effect first. Null without trials. `side` is - or +. Rounding would take the bound of
   no success below 0 and that of all above 1. A null among the arguments of greatest() is skipped by DuckDB alone. #}
{% macro wilson_bound(successes, trials, design_effect, side) -%}
    {%- set z = '1.959963984540054' -%}
    {%- set size = '(' ~ trials ~ ' / cast(' ~ design_effect ~ ' as double))' -%}
    {%- set rate = '(' ~ successes ~ ' / cast(' ~ trials ~ ' as double))' -%}
    {%- set within = 'greatest(cast(0 as double), ' if side == '-' else 'least(cast(1 as double), ' -%}
    case
            when {{ trials }} > 0 and {{ successes }} is not null and {{ design_effect }} is not null
                then {{ within }}(
                    {{ rate }} + {{ z }} * {{ z }} / (2 * {{ size }})
                    {{ side }} {{ z }} * sqrt(
                        {{ rate }} * (1 - {{ rate }}) / {{ size }} + {{ z }} * {{ z }} / (4 * {{ size }} * {{ size }})
                    )
                ) / (1 + {{ z }} * {{ z }} / {{ size }}))
        end
{%- endmacro %}
