{# The probability that a copy is the best of several, from Mantel-Haenszel ratios to one control: the arms' errors are
   taken for independent and normal around the logarithms of the ratios, the control's own error once. #}

{# The term of a day of an arm's own variance, y1 * (n0 / N) squared; for the control's, the arms are exchanged. #}
{% macro best_of_term(successes, other_trials, trials) -%}
    {%- set weight = '(' ~ other_trials ~ ' / cast(' ~ trials ~ ' + ' ~ other_trials ~ ' as double))' -%}
    {{ successes }} * {{ weight }} * {{ weight }}
{%- endmacro %}


{# An arm's own variance on the scale of the logarithm: `squares` sums up best_of_term(), `weighted` is t1 or t0. #}
{% macro own_variance(design_effect, rate, squares, weighted) -%}
    {{ design_effect }} * (1 - {{ rate }}) * {{ squares }} / nullif({{ weighted }} * {{ weighted }}, 0)
{%- endmacro %}


{# Points at which the normal density is summed up: 193 from -6 to 6 miss 2e-9 of it. `number` is 1 to 193. #}
{% macro normal_point(number) -%}
    (({{ number }} - 97) / cast(16 as double))
{%- endmacro %}


{# The weight of a point: density times distance. #}
{% macro normal_weight(point) -%}
    exp(-0.5 * {{ point }} * {{ point }}) / (2.5066282746310002 * 16)
{%- endmacro %}
