{# Whether a delivery's last call is close enough to the message's first event for a match. This bounds the search: no
   event needs all of history. #}
{% macro is_in_match_range(last_called_at, first_event_at) -%}
    (
        {{ last_called_at }} >= {{ dbt.dateadd('day', -1 * var('match_lookback_days'), first_event_at) }}
        and {{ last_called_at }} <= {{ dbt.dateadd('day', var('match_skew_days'), first_event_at) }}
    )
{%- endmacro %}


{# Whether the action map links the message's action to the delivery's template and logged action. #}
{% macro is_mapped(candidate, action, map) -%}
    {{ candidate }}.{{ action }} = {{ map }}.message_action_id
    and {{ candidate }}.template_id = {{ map }}.template_id
    and ({{ map }}.webhook_action_id is null or {{ map }}.webhook_action_id = {{ candidate }}.call_action_id)
    and {{ campaign_agrees(map ~ '.message_campaign_id', candidate ~ '.campaign_id') }}
    and {{ campaign_agrees(map ~ '.webhook_campaign_id', candidate ~ '.campaign_id') }}
{%- endmacro %}


{# The campaigns must be equal if both the map and the event name one. #}
{% macro campaign_agrees(mapped, logged) -%}
    ({{ mapped }} is null or {{ logged }} is null or {{ mapped }} = {{ logged }})
{%- endmacro %}
