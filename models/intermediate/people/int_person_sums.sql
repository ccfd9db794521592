{# A removed line without an id does not say whose it was. So people who were counted on its day or later are summed up
   again; this table itself knows who they are. #}
{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={
        'touched': [
            {'model': 'int_touched_people', 'on': {'identifier': 'identifier'}},
            {
                'model': 'int_touched_everybody',
                'on': {'is_anybody': 'is_anybody'},
                'since': {'last_metric_date': 'removed_since_date'},
            },
        ],
        'pieces': {'model': 'int_person_days', 'by': 'substr(identity_key, 1, 2)', 'times': 3},
    }
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

{% set keys = ['identity_key'] %}
{% set of_identities = [
    'identity_key', 'identifier', 'customer_id', 'cio_id', 'email', 'is_anybody', 'first_event_at', 'last_event_at',
    'last_metric_date', 'events_counted',
] %}

with

{% if is_incremental() -%}
counted_since_removal as (

    select identity_key
    from {{ this }}
    where
        last_metric_date >= (select min(removed_since_date) from {{ ref('int_touched_everybody') }})
        {{- and_between('last_metric_date', 'int_touched_everybody', 'removed_since_date', since=true) }}

),
{%- endif %}

days as (

    {% if is_incremental() -%}
    select counted.*
    from {{ rows_of_any(ref('int_person_days'), 'counted', [
        {
            'on': {'identifier': 'identifier'},
            'of': ref('int_touched_people'),
            'and': and_between('identifier', 'int_touched_people', 'identifier'),
        },
        {'on': {'identity_key': 'identity_key'}, 'of': 'counted_since_removal'},
    ], any_piece()) }}
    {%- else -%}
    select * from {{ ref('int_person_days') }}
    where {{ any_piece() }}
    {%- endif %}

),

identities as (

    select
        identity_key,
        max(identifier) as identifier,
        max(customer_id) as customer_id,
        max(cio_id) as cio_id,
        max(email) as email,
        true as is_anybody,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at,
        max(metric_date) as last_metric_date,
        cast(sum(events_counted) as {{ dbt.type_bigint() }}) as events_counted
    from days
    group by identity_key

),

names as (

    {{ names_of_days('days', keys) }}

),

{{ person_objects('identities', of_identities, keys, 'final', members_of_days('days', 'names', keys)) }}

select * from final
