{# The feeds of events that count, in order of precedence: of a message and metric, the first feed that has it. #}
{% macro engagement_feeds() -%}
    {%- set feeds = var('engagement_feeds') if execute else ['webhooks', 'sync'] -%}
    {%- if feeds is not sequence or feeds is string or feeds is mapping or not feeds
        or feeds | unique | list | length != feeds | length or feeds | reject('in', ['webhooks', 'sync']) | list -%}
        {{ exceptions.raise_compiler_error(
            "the var engagement_feeds is " ~ feeds ~ ": it must be a list of webhooks and sync, or of one of them, the one that"
            ~ " counts first in front"
        ) }}
    {%- endif -%}
    {{ return(feeds) }}
{%- endmacro %}


{# The id of an event of the warehouse sync. Whether its ids are those of the webhooks is not known, so they must not
   meet. #}
{% macro sync_event_id(metric_id) -%}
    'sync:' || {{ metric_id }}
{%- endmacro %}


{# The select of a feed's flags by message and metric. Which of its events is the same as one of the other feed is not
   known, so a flag is known only where all of them have it. #}
{% macro agreed_flags(events, flags) -%}
    select
        delivery_id,
        {{ metric_of_any_feed('metric') }} as compared_metric,
        {%- for flag in flags %}
        {%- set value = "case when " ~ flag ~ " then 1 when not " ~ flag ~ " then 0 end" %}
        case when count({{ flag }}) = count(*) and min({{ value }}) = max({{ value }}) then min({{ value }}) = 1 end
            as {{ flag }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ events }}
    where is_about_message
    group by delivery_id, {{ metric_of_any_feed('metric') }}
{%- endmacro %}
