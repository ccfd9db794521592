with

source as (

    select * from {{ source('customerio', 'customerio_events') }}

),

{{ events_of_lines('source', 'final') }}

select * from final
