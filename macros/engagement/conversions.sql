{# The value of a conversion in the JSON of its event; null without the var. #}
{% macro conversion_value(data) -%}
    {%- if var('conversion_value_path') -%}
        {{ text_to_decimal(rare_json_field(data, var('conversion_value_path') | string)) }}
    {%- else -%}
        cast(null as decimal(18, 4))
    {%- endif -%}
{%- endmacro %}


{# A case of uncounted_reason: conversions outside their own window, where the vars set one. It is that of the message,
   not of the call, so that it is the same in the control arm, which has no call. #}
{% macro when_conversion_is_outside_window(counts_as, event_at, first_event_at) -%}
    {%- set offset, lookback = var('conversion_offset_days'), var('conversion_lookback_days') -%}
    {%- if offset or lookback is not none -%}
        when
            {{ counts_as }} = 'converted'
            and (
                {{ event_at }} < {{ dbt.dateadd('day', offset, first_event_at) }}
                {%- if lookback is not none %}
                or {{ event_at }} > {{ dbt.dateadd('day', lookback, first_event_at) }}
                {%- endif %}
            )
            then 'outside_conversion_window'
    {%- endif -%}
{%- endmacro %}
