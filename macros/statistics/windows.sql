{# The windows over which arms are compared, and how many days they reach back from the template's newest day. #}
{% macro comparison_windows() -%}
    {{ return({'all': 1000000, '28_days': 28, '7_days': 7}) }}
{%- endmacro %}
